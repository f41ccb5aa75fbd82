"""The same command in two processes on loopback, with a workspace that both share, as a person starts it."""

import json
import subprocess
from dataclasses import replace

import pytest

from tests.support.free_ports import free_ports
from tests.support.run_cli import Plumbline

pytestmark = pytest.mark.stress
LONG = ("--recipe", "flash", "--epochs", "60")


def pair(plumbline: Plumbline) -> list[subprocess.Popen[str]]:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    configs = [
        {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(2)
    ]
    return [
        replace(plumbline, environment=plumbline.environment | {"TF_CONFIG": json.dumps(config)}).started(
            *LONG
        )
        for config in configs
    ]


def ended(processes: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    said = [process.communicate(timeout=400)[0] for process in processes]
    return [process.returncode for process in processes], said


def test_one_leads_the_other_follows_and_a_killed_one_is_resumed(plumbline: Plumbline) -> None:
    leader, follower = pair(plumbline)
    assert leader.stdout is not None
    epochs = (line for line in leader.stdout if "epoch" in line)
    for _ in range(2):
        next(epochs)
    follower.kill()
    assert ended([leader, follower])[0] == [1, -9]
    assert not any(name.startswith(("models/", "metrics/")) for name in plumbline.files())

    codes, said = ended(pair(plumbline))
    assert codes == [0, 0]
    assert all("resumed at epoch" in one for one in said)
    assert "on 2 replicas" in said[0]
    assert "process 2 of 2: done" in said[1]
    assert list(plumbline.runs()["version"]) == ["v0001"]
    assert plumbline.flow_run_states()[:2] == ["Completed", "Failed"]

    codes, said = ended(pair(plumbline))
    assert codes == [0, 0]
    assert "v0001 stands" in said[0]
    assert "the model is there already" in said[1]
