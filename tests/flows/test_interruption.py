"""Runs that are stopped: what the server is told, and that the next run goes on from there."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.run_cli import Plumbline

pytestmark = pytest.mark.slow

LONG = ("--epochs", "30")


def test_ctrl_c_ends_as_cancelled_and_is_gone_on_from(plumbline: Plumbline) -> None:
    run = plumbline.started(*LONG)
    assert run.stdout is not None
    epochs = (line for line in run.stdout if "epoch" in line)
    next(epochs)
    run.send_signal(signal.SIGINT)
    rest = run.stdout.read()
    assert run.wait(120) == 130
    assert "stopped at epoch" in rest
    assert plumbline.flow_run_states()[0] == "Cancelled"
    assert not (plumbline.workspace / "models").exists()
    assert "resumed at epoch" in plumbline.ok(*LONG)


@pytest.mark.stress
def test_a_time_limit_is_gone_on_from(plumbline: Plumbline) -> None:
    """Long enough that training has begun: importing TensorFlow counts, too."""
    done = plumbline.train("--epochs", "3000", "--time-limit", "0.5")
    assert done.returncode == 1
    assert "train reached its time limit" in done.stderr
    assert plumbline.flow_run_states()[0] == "Failed"
    assert {"TimedOut", "Completed"} == set(plumbline.task_run_states())
    again = plumbline.train("--epochs", "3000", "--time-limit", "0.3")
    assert "resumed at epoch" in again.stdout


@pytest.mark.stress
@pytest.mark.parametrize("how", ["cancel", "SIGTERM to the worker"])
def test_a_workers_run_is_stopped_and_gone_on_from(plumbline: Plumbline, how: str) -> None:
    """Cancel from the API reaches the training; a worker that is told to end kills its runs at once."""
    plumbline.prefect("work-pool", "create", "plumbline", "--type", "process", "--overwrite")
    plumbline.prefect("deploy", "--prefect-file", "deployments/prefect.yaml", "--all")
    with worker(plumbline) as process:
        first = begun(plumbline)
        until(lambda: any((plumbline.workspace / "training").rglob("*checkpoint*/*")))
        if how == "cancel":
            plumbline.prefect("flow-run", "cancel", first)
            until(lambda: state(plumbline, first) == "Cancelled")
        else:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    with worker(plumbline):
        second = begun(plumbline)
        until(lambda: state(plumbline, second) == "Completed")
    logs = plumbline.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": [second]}}})
    assert any("resumed at epoch" in line["message"] for line in logs)
    assert state(plumbline, first) == ("Cancelled" if how == "cancel" else "Crashed")


def begun(plumbline: Plumbline) -> str:
    """Id of a long run that a worker is to take up."""
    plumbline.prefect(
        *("deployment", "run", "train-image-classifier/digits", "-p", "epochs=150"),
        *("-p", f"workspace={json.dumps(str(plumbline.workspace))}"),
    )
    runs = plumbline.ask("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 200})
    (run,) = [run for run in runs if not run["auto_scheduled"] and run["state_type"] == "SCHEDULED"]
    return str(run["id"])


def state(plumbline: Plumbline, run: str) -> str:
    return str(plumbline.ask(f"/flow_runs/{run}")["state_name"])


@contextmanager
def worker(plumbline: Plumbline) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "plumbline"],
        env=plumbline.environment | {"PREFECT_WORKER_QUERY_SECONDS": "2"},
        cwd=plumbline.workspace.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def until(reached: Callable[[], Any], patience: float = 300) -> None:
    deadline = time.monotonic() + patience
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.5)
