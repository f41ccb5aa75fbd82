"""`plumbline evaluate` as a user runs it: a model of the digits, and folders made of its own test images."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.run_cli import Plumbline
from tests.support.sample_files import encoded, noise, put

pytestmark = pytest.mark.slow


@pytest.fixture
def plumbline(warm_plumbline: Plumbline) -> Plumbline:
    """Its commands run in forks."""
    return warm_plumbline


def arrays(workspace: Path, split: str) -> Any:
    """Pairs of an image, uint8 (8, 8), and its label, of the tensors that the model was trained on."""
    (tensors,) = (path.parent for path in (workspace / "tensors").glob("[!.]*/train.images.npy"))
    images, labels = (np.load(tensors / f"{split}.{name}.npy") for name in ("images", "labels"))
    return list(zip(images[..., 0], labels.tolist(), strict=True))


def write(folder: Path, split: str, pairs: Any) -> Path:
    for number, (image, label) in enumerate(pairs):
        put(folder / str(label) / f"{split}{number:03}.png", encoded(image))
    return folder


def table(plumbline: Plumbline, name: str) -> pd.DataFrame:
    return pd.read_parquet(plumbline.workspace / "metrics" / name)


def test_evaluate_flow(plumbline: Plumbline, tmp_path: Path) -> None:
    plumbline.ok("--epochs", "2", "--recipe", "flash")
    (run,) = plumbline.runs().to_dict("records")
    registry = {name: content for name, content in plumbline.files().items() if name.startswith("models/")}
    own = {split: arrays(plumbline.workspace, split) for split in ("train", "val", "test")}
    check_its_own_test_images_give_the_score_of_the_run(plumbline, own["test"], run, tmp_path)
    check_what_it_has_seen_or_does_not_know_is_left_out(plumbline, own, tmp_path)
    check_classes_without_images_are_named(plumbline, own, tmp_path)
    check_errors(plumbline, tmp_path)
    files = plumbline.files()
    assert {name: content for name, content in files.items() if name.startswith("models/")} == registry
    assert len(table(plumbline, "runs")) == 1


def evaluate(plumbline: Plumbline, *arguments: object) -> Any:
    return plumbline.run("flows/evaluate_flow.py", *arguments, "--workspace", plumbline.workspace)


def check_its_own_test_images_give_the_score_of_the_run(
    plumbline: Plumbline, pairs: Any, run: dict[str, Any], folder: Path
) -> None:
    data = write(folder / "same", "test", pairs)
    done = evaluate(plumbline, data)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = table(plumbline, "evaluations").to_dict("records")
    for name in ("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "log_loss"):
        assert row[name] == pytest.approx(run[f"test_{name}"], abs=1e-6), name
    assert (row["images"], row["own_test_images"], row["version"]) == (len(pairs), len(pairs), "v0001")
    assert f"of {len(pairs)} images" in done.stdout
    assert f"{len(pairs)} images of the test split of the version's own run" in done.stdout
    assert f"digits v0001 on {data.name}" in (plumbline.workspace / row["report"]).read_text()
    predictions = table(plumbline, "predictions").query("split == 'evaluated'")
    right = predictions["label"] == predictions["predicted_label"]
    assert len(predictions) == len(pairs)
    assert right.mean() == pytest.approx(row["accuracy"])
    assert table(plumbline, "classes").query("split == 'evaluated'")["support"].sum() == len(pairs)

    again = evaluate(plumbline, data)
    assert again.returncode == 0, again.stdout + again.stderr
    rows = table(plumbline, "evaluations").sort_values("started")
    states = {name: stage["state"] for name, stage in json.loads(rows.iloc[-1]["stages"]).items()}
    assert states.pop("download") == "unchanged"
    assert set(states.values()) == {"cached"}
    assert rows["evaluation"].nunique() == 1
    assert len(table(plumbline, "predictions").query("split == 'evaluated'")) == len(pairs)


def check_what_it_has_seen_or_does_not_know_is_left_out(
    plumbline: Plumbline, own: dict[str, Any], folder: Path
) -> None:
    data = write(folder / "mixed", "test", own["test"][:40])
    write(data, "train", own["train"][:9])
    write(data, "val", own["val"][:5])
    for number in range(3):
        put(data / "letter a" / f"{number}.png", encoded(noise(number, 9, 9)))
    done = evaluate(plumbline, data, "--positive", "8", "--model", "v0001")
    assert done.returncode == 0, done.stdout + done.stderr
    row = table(plumbline, "evaluations").sort_values("started").iloc[-1]
    counts = [row[name] for name in ("source_images", "images", "trained_images", "val_images")]
    assert counts == [57, 40, 9, 5]
    assert json.loads(row["unknown_classes"]) == {"letter a": 3}
    assert "left out: 3 images of a class that the version does not know: letter a (3)" in done.stdout


def check_classes_without_images_are_named(plumbline: Plumbline, own: dict[str, Any], folder: Path) -> None:
    some = [pair for pair in own["test"] if pair[1] not in (4, 7)]
    done = evaluate(plumbline, write(folder / "eight", "test", some))
    assert "\nabsent        no image of 4, 7" in done.stdout, done.stdout + done.stderr


def check_errors(plumbline: Plumbline, folder: Path) -> None:
    """One error each, without a traceback, and no row."""
    rows = len(table(plumbline, "evaluations"))
    strangers = write(folder / "strangers", "x", [(noise(1, 8, 8), "cat"), (noise(2, 8, 8), "dog")])
    for arguments, code, message in (
        ((folder / "nowhere",), 2, "No images can be read from"),
        ((strangers,), 1, "strangers has no image of a class that the version knows"),
    ):
        done = evaluate(plumbline, *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stdout + done.stderr
    assert len(table(plumbline, "evaluations")) == rows
