import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.flows.running import Plumbline

pytestmark = pytest.mark.slow


def test_new_images_are_classified(plumbline: Plumbline, photos: Path, tmp_path: Path) -> None:
    plumbline.ok("--dataset", photos, "--epochs", "8")
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(photos / "across" / "001.png", new / "a.png")
    shutil.copy(photos / "down" / "001.png", new / "d.png")
    (new / "broken.jpg").write_bytes(b"\xff\xd8 not a picture")
    out = tmp_path / "out.parquet"
    asked = (new, "--dataset", "photos", "--out", out, "--workspace", plumbline.workspace)

    done = plumbline.run("flows/predict_flow.py", *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_parquet(out).set_index("file")
    assert rows.loc[str(new / "a.png"), "predicted_class"] == "across"
    assert rows.loc[str(new / "d.png"), "predicted_class"] == "down"
    assert rows.loc[str(new / "a.png"), "probability"] > 0.5
    assert sum(rows.loc[str(new / "a.png"), "probabilities"]) == pytest.approx(1, abs=1e-5)
    assert rows.loc[str(new / "broken.jpg"), "problem"]
    assert pd.isna(rows.loc[str(new / "broken.jpg"), "predicted_class"])
    assert "across" in done.stdout
    assert "3 images, 1 unreadable" in done.stdout

    named = plumbline.run("flows/predict_flow.py", *asked, "--model", "v0001")
    assert named.returncode == 0

    absent = plumbline.run("flows/predict_flow.py", *asked, "--model", "v0007")
    assert absent.returncode == 1
    assert "v0007" in absent.stderr
    assert "Traceback" not in absent.stderr

    nowhere = plumbline.run("flows/predict_flow.py", tmp_path / "nowhere", *asked[1:])
    assert nowhere.returncode == 2
    assert "nowhere" in nowhere.stderr
