"""Batch prediction as a person or a schedule runs it: a model of the digits, a folder and parquet of them."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tests.support.run_cli import ROOT, Plumbline
from tests.support.sample_files import encoded, parquet, put

pytestmark = pytest.mark.slow


def predict(plumbline: Plumbline, *arguments: object) -> subprocess.CompletedProcess[str]:
    return plumbline.run("flows/predict_flow.py", *arguments, "--workspace", plumbline.workspace)


def ok(plumbline: Plumbline, *arguments: object) -> str:
    done = predict(plumbline, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def digits(workspace: Path) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """The test images, which the model has not seen, and their labels."""
    (tensors,) = (workspace / "tensors").glob("[!.]*")
    return np.load(tensors / "test.images.npy")[..., 0], np.load(tensors / "test.labels.npy")


def drifts(plumbline: Plumbline) -> list[dict[str, Any]]:
    """The events of drift that the server has."""
    content = json.dumps({"filter": {"event": {"name": ["plumbline.drift.detected"]}}}).encode()
    address = plumbline.environment["PREFECT_API_URL"] + "/events/filter"
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return list(json.load(response)["events"])


def test_digits_are_predicted_compared_and_gone_on_with(plumbline: Plumbline, tmp_path: Path) -> None:
    plumbline.ok("--epochs", "6", "--recipe", "flash")
    images, labels = digits(plumbline.workspace)
    check_a_folder_that_grows(plumbline, images, labels, tmp_path)
    check_that_drift_is_told(plumbline, images, tmp_path)
    check_that_errors_are_for_people(plumbline, tmp_path)


def check_a_folder_that_grows(
    plumbline: Plumbline, images: NDArray[np.uint8], labels: NDArray[np.int32], here: Path
) -> None:
    new, out = here / "new", here / "out"
    for number, image in enumerate(images):
        put(new / f"{number:03}.png", encoded(image))
    put(new / "broken.jpg", b"\xff\xd8 not a picture")
    said = ok(plumbline, new, "--out", out, "--abstain", "0.05")
    assert f"{len(images) + 1} images, " in said
    assert ", 1 unreadable" in said
    assert "no drift" in said
    rows = pd.read_parquet(out).set_index("path")
    assert rows.index.is_unique
    assert set(rows["model"]) == {"v0001"}
    read = rows.drop(str(new / "broken.jpg"))
    answered = ~read["abstained"].to_numpy(bool)
    assert answered.mean() > 0.8
    right = read["predicted_class_name"][answered] == labels[answered].astype(str)
    assert right.mean() > 0.95
    assert read["predicted_class_name"][~answered].isna().all()
    assert sum(read["probabilities"].iloc[0]) == pytest.approx(1, abs=1e-5)
    assert rows.loc[str(new / "broken.jpg"), "problem"]

    put(new / "later.png", encoded(images[0]))
    assert "1 images" in ok(plumbline, f"{new}/*", "--out", out, "--abstain", "0.05")
    assert len(pd.read_parquet(out)) == len(images) + 2
    assert len(list(out.glob("batch=*"))) == 2
    asked = {"images": [str(new)], "out": str(out), "abstain": 0.05, "workspace": str(plumbline.workspace)}
    code = (
        f"import sys; from flows.predict_flow import predict_flow\nprint(predict_flow(**{asked!r}))\n"
        "print('without TensorFlow' if 'tensorflow' not in sys.modules else 'with')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=plumbline.environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'images': 0, " in done.stdout
    assert "without TensorFlow" in done.stdout


def check_that_drift_is_told(plumbline: Plumbline, images: NDArray[np.uint8], here: Path) -> None:
    assert drifts(plumbline) == []
    path = parquet(here / "inverted.parquet", [0] * len(images), contents=[encoded(255 - i) for i in images])
    assert "DRIFT: " in ok(plumbline, path, "--out", here / "drifted")
    (page,) = (here / "drifted").glob("batch=*/_drift.html")
    deadline = time.monotonic() + 60
    while not drifts(plumbline) and time.monotonic() < deadline:
        time.sleep(0.5)
    (event,) = drifts(plumbline)
    assert event["resource"]["prefect.resource.id"] == "plumbline.model.digits"
    assert event["payload"]["report"] == str(page)
    assert "brightness" in [shift["feature"] for shift in event["payload"]["shifts"] if shift["drifted"]]
    rows = pd.read_parquet(here / "drifted")
    assert list(rows["row"]) == list(range(len(images)))


def check_that_errors_are_for_people(plumbline: Plumbline, here: Path) -> None:
    done = predict(plumbline, here / "new", "--model", "v0007")
    assert done.returncode == 1
    assert "v0007" in done.stderr
    assert "Traceback" not in done.stderr
