"""Batch prediction as a user or a schedule runs it: a model of the digits, a folder and a parquet file."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tasks.core.operations.run_lock import RunOwner
from tests.support.processes.waiting import wait_until
from tests.support.run_cli import ROOT, Plumbline
from tests.support.sample_files import encoded, parquet, put

pytestmark = pytest.mark.slow


@pytest.fixture
def plumbline(warm_plumbline: Plumbline) -> Plumbline:
    """Its commands run in forks."""
    return warm_plumbline


def predict(plumbline: Plumbline, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a prediction, which may fail."""
    return plumbline.run("flows/predict_flow.py", *arguments, "--workspace", plumbline.workspace)


def ok(plumbline: Plumbline, *arguments: object) -> str:
    """Run a prediction that must succeed. Returns what it printed."""
    done = predict(plumbline, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def digits(workspace: Path) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Returns the test images, which the model has not seen (uint8, N x 8 x 8), and their labels (int32)."""
    (tensors,) = (workspace / "tensors").glob("[!.]*")
    return np.load(tensors / "test.images.npy")[..., 0], np.load(tensors / "test.labels.npy")


def drift_events(plumbline: Plumbline) -> list[dict[str, Any]]:
    """Returns the drift events of `digits` that the server has received, also those of other tests."""
    filter_ = {"filter": {"event": {"name": ["plumbline.drift.detected"]}}}
    events = plumbline.query_server("/events/filter", filter_)["events"]
    return [event for event in events if event["resource"]["prefect.resource.id"] == "plumbline.model.digits"]


def test_predict_flow_appends_batches_and_reports_drift_and_errors(
    plumbline: Plumbline, tmp_path: Path
) -> None:
    plumbline.ok("--epochs", "6", "--recipe", "flash")
    images, labels = digits(plumbline.workspace)
    check_a_folder_that_grows(plumbline, images, labels, tmp_path)
    check_that_drift_is_reported(plumbline, images, tmp_path)
    check_that_an_unknown_version_is_one_error(plumbline, tmp_path)


def check_a_folder_that_grows(
    plumbline: Plumbline, images: NDArray[np.uint8], labels: NDArray[np.int32], folder: Path
) -> None:
    new, out = folder / "new", folder / "out"
    for number, image in enumerate(images):
        put(new / f"{number:03}.png", encoded(image))
    put(new / "broken.jpg", b"\xff\xd8 not a picture")
    put(new / "clip.mov", b"\0\0\0\x14ftypqt  \0\0\0\0qt  ")
    output = ok(plumbline, new, "--out", out, "--abstain", "0.05")
    assert f"{len(images) + 1} images, " in output
    assert ", 1 unreadable" in output
    assert "no drift" in output
    unused = pd.read_csv(out / "_quarantine.csv")
    assert unused.to_numpy().tolist() == [[str(new / "clip.mov"), "a video (QuickTime): not an image"]]
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
    killed = run_that_was_killed(plumbline, out)
    assert "\n1 image, " in ok(plumbline, f"{new}/*", "--out", out, "--abstain", "0.05")
    assert plumbline.query_server(f"/flow_runs/{killed}")["state"]["name"] == "Crashed"
    assert len(pd.read_parquet(out)) == len(images) + 2
    assert len(list(out.glob("batch=*"))) == 2
    parameters = {
        "images": [str(new)],
        "out": str(out),
        "abstain": 0.05,
        "workspace": str(plumbline.workspace),
    }
    code = (
        f"import sys; from flows.predict_flow import predict_flow\nprint(predict_flow(**{parameters!r}))\n"
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


def run_that_was_killed(plumbline: Plumbline, out: Path) -> str:
    """What `kill -9` leaves: a run that the server takes for running, and its lock, which nobody holds."""
    flow = plumbline.query_server("/flows/", {"name": "predict-images"})["id"]
    run = plumbline.query_server("/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"]
    owner = RunOwner.this(run, "killed")
    (out / ".run.lock").write_text(json.dumps(asdict(owner)))
    return str(run)


def check_that_drift_is_reported(plumbline: Plumbline, images: NDArray[np.uint8], folder: Path) -> None:
    before = {event["id"] for event in drift_events(plumbline)}
    path = parquet(
        folder / "inverted.parquet", [0] * len(images), contents=[encoded(255 - i) for i in images]
    )
    assert "DRIFT: " in ok(plumbline, path, "--out", folder / "drifted")
    (page,) = (folder / "drifted").glob("batch=*/_drift.html")
    wait_until(lambda: len(drift_events(plumbline)) > len(before))
    (event,) = [event for event in drift_events(plumbline) if event["id"] not in before]
    assert event["resource"]["prefect.resource.id"] == "plumbline.model.digits"
    assert event["payload"]["report"] == str(page)
    assert "brightness" in [shift["feature"] for shift in event["payload"]["shifts"] if shift["drifted"]]
    rows = pd.read_parquet(folder / "drifted")
    assert list(rows["row"]) == list(range(len(images)))


def check_that_an_unknown_version_is_one_error(plumbline: Plumbline, folder: Path) -> None:
    done = predict(plumbline, folder / "new", "--model", "v0007")
    assert done.returncode == 1
    assert "v0007" in done.stderr
    assert "Traceback" not in done.stderr
