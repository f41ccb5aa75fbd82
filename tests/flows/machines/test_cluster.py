"""The same training command in two processes on the loopback, with one workspace, as a user starts it."""

import json
import subprocess
from dataclasses import replace

import pytest

from tests.support.run_cli import Plumbline
from tests.support.servers.free_ports import free_ports

pytestmark = pytest.mark.stress
LONG = ("--recipe", "flash", "--epochs", "60")


def start_pair(plumbline: Plumbline) -> list[subprocess.Popen[str]]:
    """Start the chief and the worker."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    configs = [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(2)
    ]
    environments = [plumbline.environment | {"TF_CONFIG": json.dumps(config)} for config in configs]
    return [replace(plumbline, environment=environment).start_training(*LONG) for environment in environments]


def wait_for(processes: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    """Wait until the processes have ended. Returns their exit codes and outputs."""
    outputs = [process.communicate(timeout=400)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def test_train_in_two_processes_with_one_killed_fails_then_resumes(plumbline: Plumbline) -> None:
    chief, worker = start_pair(plumbline)
    assert chief.stdout is not None
    epochs = (line for line in chief.stdout if "epoch" in line)
    for _ in range(2):
        next(epochs)
    worker.kill()
    assert wait_for([chief, worker])[0] == [1, -9]
    assert not any(name.startswith(("models/", "metrics/")) for name in plumbline.files())

    codes, outputs = wait_for(start_pair(plumbline))
    assert codes == [0, 0]
    assert all("resumed at epoch" in output for output in outputs)
    assert "on 2 replicas" in outputs[0]
    assert "process 2 of 2: done" in outputs[1]
    assert list(plumbline.runs()["version"]) == ["v0001"]
    assert plumbline.flow_run_states()[:2] == ["Completed", "Failed"]

    codes, outputs = wait_for(start_pair(plumbline))
    assert codes == [0, 0]
    assert "v0001 stays" in outputs[0]
    assert "the model exists already" in outputs[1]
