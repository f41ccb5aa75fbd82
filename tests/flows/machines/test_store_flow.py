"""Complete runs in a workspace on S3 (a real server on the loopback), on machines with one mirror each."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

from tasks.core.registry import registry
from tasks.core.registry.promotion.decisions import read_decisions
from tasks.core.workspace import MIRRORS, Workspace
from tests.support.run_cli import ROOT
from tests.support.servers.s3_server import ADDRESS, Bucket, half_visible
from tests.support.warm_commands import WarmPlumbline

pytestmark = pytest.mark.slow
TRAIN = ("flows/train_flow.py", "--epochs", "1")


@dataclass(frozen=True)
class Machine:
    """Starts commands as on a separate machine, whose mirror and stored results are empty at first.

    Args:
        environment: Environment variables of the commands.
        warm: The process whose forks run the commands to their end.
    """

    environment: dict[str, str]
    warm: WarmPlumbline

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in the workspace on S3, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, *command, "--workspace", ADDRESS],
            env=self.environment | {"PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ok(self, *command: str) -> str:
        """Run a command that must succeed. Returns what it printed."""
        done = self.run(*command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the workspace on S3 to its end."""
        return replace(self.warm, environment=self.environment).run(*command, "--workspace", ADDRESS)


@pytest.fixture
def machine(
    bucket: Bucket, warm_commands: WarmPlumbline, server: dict[str, str], tmp_path: Path
) -> Callable[[str], Machine]:
    """Makes a machine by name."""
    clients = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

    def made(name: str) -> Machine:
        (tmp_path / name).mkdir()
        return Machine(server | clients | {"PLUMBLINE_MIRROR": str(tmp_path / name)}, warm_commands)

    return made


def kill_during_upload(machine: Machine, bucket: Bucket, ending: str) -> None:
    """Start a training and kill -9 it when the upload of an object with that ending has started."""
    started, killed = threading.Event(), threading.Event()

    def gate(method: str, name: str) -> bool:
        if method == "PUT" and name.endswith(ending):
            started.set()
            return not killed.wait(60)
        return True

    bucket.gate = gate
    process = machine.start(*TRAIN)
    assert started.wait(120), "nothing was uploaded"
    process.kill()
    process.communicate()
    killed.set()
    bucket.gate = lambda *_: True


def test_train_on_s3_completes_a_killed_upload_and_shares_stages(
    machine: Callable[[str], Machine], bucket: Bucket
) -> None:
    one, two, three = machine("one"), machine("two"), machine("three")

    kill_during_upload(one, bucket, "train.images.npy")
    objects = bucket.objects()
    assert any("rows.parquet" in name for name in objects)  # the run was killed while it uploaded the tensors
    assert not [name for name in objects if name.startswith("tensors/") and name.endswith("manifest.json")]
    assert half_visible(objects) == []

    bucket.forget()
    output = one.ok(*TRAIN)
    assert "v0001: the first champion of digits" in output
    assert bucket.count("PUT", r"^tensors/.*rows\.parquet$") == 0  # the killed run had uploaded it
    assert bucket.count("PUT", r"^tensors/.*images\.npy$") > 0
    assert half_visible(bucket.objects()) == []

    bucket.forget()
    assert "champion v0001 stays" in two.ok(*TRAIN)
    large = r"(images\.npy|model\.keras|weights\.npz)$"
    assert bucket.count("GET", large) == 0  # nothing had changed, so no large file was needed
    assert bucket.count("PUT", "^(tensors|training|evaluations|models)/") == 0

    bucket.forget()
    output = three.ok(*TRAIN, "--promote", "not-worse")
    assert "this model is champion v0001 already" in output
    assert "epoch 1/1" not in output  # no training ran
    down = [name for method, name in bucket.requests if method == "GET" and name.endswith("model.keras")]
    assert len(down) == len(set(down)) == 1  # the version's file and the training's are one object
    assert bucket.count("PUT", "^(tensors|training|evaluations)/") == 0

    runs = pd.read_parquet(f"{ADDRESS}/metrics/runs")
    assert list(runs.sort_values("started")["version"]) == ["v0001"] * 3
    # The exit code does not count: the work pool of other tests has no worker.
    assert "complete, by size" in three.run("flows/__main__.py", "doctor").stdout


@pytest.mark.stress
def test_three_runs_at_once_on_s3_agree_on_one_champion(
    machine: Callable[[str], Machine], bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No run finds a champion when it starts; in the end one was the first, and the others met a champion."""
    machines = [machine(f"machine {number}") for number in range(3)]
    running = [machine.start(*TRAIN, "--seed", str(seed)) for seed, machine in enumerate(machines)]
    for process in running:
        output, _ = process.communicate(timeout=500)
        assert process.returncode == 0, output
        print(output)
    assert half_visible(bucket.objects()) == []
    monkeypatch.setenv(MIRRORS, str(tmp_path / "onlooker"))
    workspace = Workspace.open(ADDRESS)
    names = [version.version for version in registry.versions("digits", workspace)]
    assert names == ["v0001", "v0002", "v0003"]
    log = registry.history("digits", workspace)
    assert sorted(line["version"] for line in log if line["action"] == "publish") == names
    assert registry.aliases("digits", workspace)["champion"] in names
    decisions = read_decisions("digits", workspace)
    last = {line["version"]: line for line in decisions}
    assert sum("the first champion" in line["why"] for line in last.values()) == 1
    assert sum(line["looked"] for line in last.values()) == 2
    print(*(f"{line['version']}: {line['why']}" for line in decisions), sep="\n")
