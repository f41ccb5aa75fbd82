"""One run of a dataset at a time, with real processes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.config import IfRunning
from tasks.core.operations import run_lock
from tasks.core.operations.run_lock import RunOwner
from tasks.core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[3]
HOLD = """
import sys, time
from tasks.core.config import IfRunning
from tasks.core.operations import run_lock
from tasks.core.workspace import Workspace
workspace = Workspace.open(sys.argv[1])
owner = run_lock.RunOwner.this(sys.argv[2], "first")
with run_lock.exclusive_run("digits", owner, IfRunning.wait, workspace):
    print("held", flush=True)
    time.sleep(float(sys.argv[3]))
"""
US = RunOwner.this("ours", "second")


def holding(workspace: Workspace, name: str, seconds: float) -> subprocess.Popen[str]:
    """A process that has the dataset."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workspace.root), name, str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_waits(workspace: Workspace) -> None:
    first = holding(workspace, "theirs", 1.0)
    with run_lock.exclusive_run("digits", US, IfRunning.wait, workspace) as killed:
        assert first.wait(10) == 0
        assert killed is None


def test_a_second_run_is_dropped_and_told_who_runs(workspace: Workspace) -> None:
    first = holding(workspace, "theirs", 60)
    with (
        pytest.raises(run_lock.DatasetBusy, match=rf'"first" \(process {first.pid}'),
        run_lock.exclusive_run("digits", US, IfRunning.drop, workspace),
    ):
        pass
    with run_lock.exclusive_run("mnist", US, IfRunning.drop, workspace) as killed:
        assert killed is None
    first.kill()
    first.wait()


def test_a_killed_run_is_known_to_the_next(workspace: Workspace) -> None:
    first = holding(workspace, "theirs", 60)
    assert [(name, holder.flow_run_id, alive) for name, holder, alive in run_lock.active_runs(workspace)] == [
        ("digits", "theirs", True)
    ]
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert [(name, alive) for name, _, alive in run_lock.active_runs(workspace)] == [("digits", False)]
    with run_lock.exclusive_run("digits", US, IfRunning.drop, workspace) as killed:
        assert killed is not None
        assert (killed.flow_run_id, killed.pid) == ("theirs", first.pid)
    with run_lock.exclusive_run("digits", US, IfRunning.drop, workspace) as killed:
        assert killed is None


def test_a_run_that_fails_leaves_no_name(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), run_lock.exclusive_run("digits", US, IfRunning.drop, workspace):
        raise ZeroDivisionError
    assert list(run_lock.active_runs(workspace)) == []


def test_a_half_written_name_is_none(workspace: Workspace) -> None:
    lock = workspace.root / ".running" / "digits.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"flow_run_id": "theirs"})[:-3])
    with run_lock.exclusive_run("digits", US, IfRunning.wait, workspace) as killed:
        assert killed is None
