"""Runs that are stopped: their state on the server, and that the next run resumes them."""

import json
import resource
import signal
import time

import pytest

from tests.support.processes.prefect_worker import worker
from tests.support.processes.waiting import wait_until
from tests.support.run_cli import Plumbline

pytestmark = pytest.mark.slow


@pytest.fixture
def plumbline(warm_plumbline: Plumbline) -> Plumbline:
    """Its commands run in forks, but for those that a test interrupts."""
    return warm_plumbline


LONG = ("--epochs", "15")  # 14 epochs are left when the run is interrupted


def test_train_after_ctrl_c_is_cancelled_and_the_next_run_resumes(plumbline: Plumbline) -> None:
    run = plumbline.start_training(*LONG)
    assert run.stdout is not None
    epochs = (line for line in run.stdout if "epoch" in line)
    next(epochs)
    run.send_signal(signal.SIGINT)
    rest = run.stdout.read()
    assert run.wait(120) == 130
    assert "stopped at epoch" in rest
    assert plumbline.flow_run_states()[0] == "Cancelled"
    assert set(plumbline.task_run_states()) == {"Completed", "Cancelled"}
    assert not (plumbline.workspace / "models").exists()
    doctor = plumbline.run("flows/__main__.py", "doctor", "--fix", "--workspace", plumbline.workspace)
    assert "ok    outputs" in doctor.stdout  # the checkpoint is none that a killed process left half-written
    assert "resumed at epoch" in plumbline.ok(*LONG)


def test_sigterm_of_a_cancelled_run_makes_it_cancelled_and_never_crashed(plumbline: Plumbline) -> None:
    """As a worker does; an automation that hears of crashed runs must not hear of this one."""
    run = plumbline.start_training(*LONG)
    assert run.stdout is not None
    next(line for line in run.stdout if "epoch" in line)
    running = plumbline.latest_flow_run()
    cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
    plumbline.query_server(f"/flow_runs/{running['id']}/set_state", cancelling)
    run.send_signal(signal.SIGTERM)
    assert "stopped at epoch" in run.stdout.read()
    assert run.wait(120) == 143
    states = plumbline.query_server(f"/flow_run_states/?flow_run_id={running['id']}")
    assert [each["name"] for each in states][-2:] == ["Cancelling", "Cancelled"]
    assert set(plumbline.task_run_states()) == {"Completed", "Cancelled"}


@pytest.mark.stress
def test_train_after_a_time_limit_resumes(plumbline: Plumbline) -> None:
    """The limit is long enough that training has begun: it includes the import of TensorFlow."""
    done = plumbline.train("--epochs", "3000", "--time-limit", "0.5")
    assert done.returncode == 0
    assert "train reached its time limit" in done.stdout
    assert plumbline.flow_run_states()[0] == "TimeLimit"
    assert {"TimedOut", "Completed"} == set(plumbline.task_run_states())
    again = plumbline.train("--epochs", "3000", "--time-limit", "0.3")
    assert "resumed at epoch" in again.stdout


@pytest.mark.stress
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="prlimit is Linux's")
def test_prefects_own_retry_resumes_the_training(plumbline: Plumbline) -> None:
    """The fault is real, and passes: for some seconds the process may open no file (EMFILE)."""
    run = plumbline.start_training("--epochs", "60")
    assert run.stdout is not None
    next(line for line in run.stdout if "epoch" in line)
    wait_until(lambda: has_checkpoint(plumbline), seconds=300)
    allowed = resource.prlimit(run.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(run.pid, resource.RLIMIT_NOFILE, (3, allowed[1]))
    time.sleep(4)
    resource.prlimit(run.pid, resource.RLIMIT_NOFILE, allowed)
    rest = run.stdout.read()
    assert run.wait(120) == 0, rest
    assert "resumed at epoch" in rest
    assert "v0001" in rest


@pytest.mark.stress
@pytest.mark.parametrize("stopped_by", ["cancel", "SIGTERM to the worker"])
def test_worker_run_that_is_stopped_is_resumed_by_the_next(plumbline: Plumbline, stopped_by: str) -> None:
    """A cancellation over the API reaches the training; a worker that gets SIGTERM kills its runs at once."""
    plumbline.prefect("work-pool", "create", "plumbline", "--type", "process", "--overwrite")
    plumbline.prefect("deploy", "--prefect-file", "deployments/prefect.yaml", "--all")
    with worker(plumbline) as process:
        first = start_long_run(plumbline)
        wait_until(lambda: has_checkpoint(plumbline), seconds=300)
        if stopped_by == "cancel":
            plumbline.prefect("flow-run", "cancel", first)
            wait_until(lambda: state(plumbline, first) == "Cancelled")
        else:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    with worker(plumbline):
        second = start_long_run(plumbline)
        wait_until(lambda: state(plumbline, second) == "Completed", seconds=300)
    logs = plumbline.query_server("/logs/filter", {"logs": {"flow_run_id": {"any_": [second]}}})
    assert any("resumed at epoch" in line["message"] for line in logs)
    assert state(plumbline, first) == ("Cancelled" if stopped_by == "cancel" else "Crashed")
    states = plumbline.query_server(f"/flow_run_states/?flow_run_id={first}")
    assert ("Crashed" in [each["name"] for each in states]) == (stopped_by != "cancel")


def start_long_run(plumbline: Plumbline) -> str:
    """Create a long run for a worker. Returns its id."""
    plumbline.prefect(
        *("deployment", "run", "train-image-classifier/digits", "-p", "epochs=150"),
        *("-p", f"workspace={json.dumps(str(plumbline.workspace))}"),
    )
    runs = plumbline.query_server("/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 200})
    (run,) = [run for run in runs if not run["auto_scheduled"] and run["state_type"] == "SCHEDULED"]
    return str(run["id"])


def has_checkpoint(plumbline: Plumbline) -> bool:
    """Whether a training has written a checkpoint, from which it can be resumed."""
    return any((plumbline.workspace / "training").rglob("*checkpoint*/*"))


def state(plumbline: Plumbline, run: str) -> str:
    """Returns the name of a flow run's state."""
    return str(plumbline.query_server(f"/flow_runs/{run}")["state_name"])


def test_promotion_of_a_run_that_ended_before_its_row_is_in_the_next_row(plumbline: Plumbline) -> None:
    """The run cannot write its row: a file is where the row's folder belongs."""
    obstacle = plumbline.workspace / "metrics" / "runs" / "dataset=digits"
    obstacle.parent.mkdir(parents=True)
    obstacle.touch()
    assert plumbline.train("--epochs", "1").returncode != 0
    assert (plumbline.workspace / "models" / "digits" / "v0001").is_dir()
    obstacle.unlink()
    plumbline.ok("--epochs", "1")
    plumbline.ok("--epochs", "1", "--refresh", "evaluate")
    rows = plumbline.runs()[["version", "promoted", "verdict"]].to_numpy().tolist()
    assert rows[0] == ["v0001", True, "the first champion of digits"]
    assert rows[1][:2] == ["v0001", False]
