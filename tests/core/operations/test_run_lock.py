"""One run of a dataset at a time, tested with real processes."""

import json
import signal
import subprocess
import sys
from functools import partial
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
OWNER = RunOwner.this("ours", "second")


def start_holder(workspace: Workspace, flow_run_id: str, seconds: float) -> subprocess.Popen[str]:
    """Start a process that holds the lock of `digits` for that long; returns when it holds it."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(workspace.root), flow_run_id, str(seconds)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_exclusive_run_with_wait_starts_after_the_first_ends(workspace: Workspace) -> None:
    holder, waits = start_holder(workspace, "theirs", 1.0), []
    waited = partial(waits.append, "once")
    with run_lock.exclusive_run("digits", OWNER, IfRunning.wait, workspace, waited) as killed:
        assert holder.wait(10) == 0
        assert killed is None
        assert waits == ["once"]
    with run_lock.exclusive_run("digits", OWNER, IfRunning.wait, workspace, waited):
        assert waits == ["once"]


def test_exclusive_run_with_drop_is_refused_and_names_the_running_one(workspace: Workspace) -> None:
    holder = start_holder(workspace, "theirs", 60)
    with (
        pytest.raises(run_lock.DatasetBusy, match=rf'"first" \(process {holder.pid}'),
        run_lock.exclusive_run("digits", OWNER, IfRunning.drop, workspace),
    ):
        pass
    with run_lock.exclusive_run("mnist", OWNER, IfRunning.drop, workspace) as killed:
        assert killed is None
    holder.kill()
    holder.wait()


def test_exclusive_run_after_a_killed_run_returns_its_owner_once(workspace: Workspace) -> None:
    holder = start_holder(workspace, "theirs", 60)
    assert [(name, owner.flow_run_id, alive) for name, owner, alive in run_lock.active_runs(workspace)] == [
        ("digits", "theirs", True)
    ]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert [(name, alive) for name, _, alive in run_lock.active_runs(workspace)] == [("digits", False)]
    with run_lock.exclusive_run("digits", OWNER, IfRunning.drop, workspace) as killed:
        assert killed is not None
        assert (killed.flow_run_id, killed.pid) == ("theirs", holder.pid)
    with run_lock.exclusive_run("digits", OWNER, IfRunning.drop, workspace) as killed:
        assert killed is None


def test_exclusive_run_that_fails_leaves_no_owner(workspace: Workspace) -> None:
    with pytest.raises(ZeroDivisionError), run_lock.exclusive_run("digits", OWNER, IfRunning.drop, workspace):
        raise ZeroDivisionError
    assert list(run_lock.active_runs(workspace)) == []


def test_exclusive_run_ignores_a_half_written_owner(workspace: Workspace) -> None:
    lock = workspace.root / ".running" / "digits.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text(json.dumps({"flow_run_id": "theirs"})[:-3])
    with run_lock.exclusive_run("digits", OWNER, IfRunning.wait, workspace) as killed:
        assert killed is None
