"""Whole runs in a workspace on S3 (a real server on the loopback), on machines with mirrors of their own."""

import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tasks.core.registry import registry
from tasks.core.registry.decisions import read_decisions
from tasks.core.workspace import MIRRORS, Workspace
from tests.support.run_cli import ROOT
from tests.support.s3_server import ADDRESS, Bucket, half_visible

pytestmark = pytest.mark.slow
TRAIN = ("flows/train_flow.py", "--epochs", "1")


@dataclass(frozen=True)
class Machine:
    """Starts commands as on a machine of its own: its mirror and its stored results are empty at first."""

    environment: dict[str, str]
    place: Path

    def start(self, *command: str) -> subprocess.Popen[str]:
        self.place.mkdir(exist_ok=True)
        return subprocess.Popen(
            [sys.executable, *command, "--workspace", ADDRESS],
            env=self.environment | {"PLUMBLINE_MIRROR": str(self.place), "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ok(self, *command: str) -> str:
        """Run a command that must succeed; gives what it printed."""
        process = self.start(*command)
        said, _ = process.communicate(timeout=500)
        assert process.returncode == 0, said
        return said


@pytest.fixture
def machine(bucket: Bucket, server: dict[str, str], tmp_path: Path):
    clients = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    return lambda name: Machine(server | clients, tmp_path / name)


def killed_at(machine: Machine, bucket: Bucket, ending: str) -> None:
    """Run, and kill -9 the run when the upload of an object of that name has begun."""
    begun, dead = threading.Event(), threading.Event()

    def gate(method: str, name: str) -> bool:
        if method == "PUT" and name.endswith(ending):
            begun.set()
            return not dead.wait(60)
        return True

    bucket.gate = gate
    process = machine.start(*TRAIN)
    assert begun.wait(120), "nothing was uploaded"
    process.kill()
    process.communicate()
    dead.set()
    bucket.gate = lambda *_: True


def test_a_killed_upload_two_workers_and_a_champion(machine, bucket: Bucket) -> None:
    one, two, three = machine("one"), machine("two"), machine("three")

    killed_at(one, bucket, "train.images.npy")
    seen = bucket.objects()
    assert any("rows.parquet" in name for name in seen)  # it was in the middle of the tensors
    assert not [name for name in seen if name.startswith("tensors/") and name.endswith("manifest.json")]
    assert half_visible(seen) == []

    bucket.forget()
    said = one.ok(*TRAIN)
    assert "v0001: the first champion of digits" in said
    assert bucket.count("PUT", r"^tensors/.*rows\.parquet$") == 0  # the killed run had sent it
    assert bucket.count("PUT", r"^tensors/.*images\.npy$") > 0
    assert half_visible(bucket.objects()) == []

    bucket.forget()
    assert "champion v0001 stands" in two.ok(*TRAIN)
    large = r"(images\.npy|model\.keras|weights\.npz)$"
    assert bucket.count("GET", large) == 0  # nothing had changed, so it needed none of them
    assert bucket.count("PUT", "^(tensors|training|evaluations|models)/") == 0

    bucket.forget()
    said = three.ok(*TRAIN, "--promote", "not-worse")
    assert "this very model is champion v0001 already" in said
    assert "epoch 1/1" not in said  # it trained nothing
    down = [name for method, name in bucket.requests if method == "GET" and name.endswith("model.keras")]
    assert len(down) == len(set(down)) == 1  # the version's is the training's
    assert bucket.count("PUT", "^(tensors|training|evaluations)/") == 0

    runs = pd.read_parquet(f"{ADDRESS}/metrics/runs")
    assert list(runs.sort_values("started")["version"]) == ["v0001"] * 3
    said, _ = three.start("-m", "flows", "doctor").communicate(timeout=100)  # other tests' pool has no worker
    assert "whole, by size" in said


@pytest.mark.stress
def test_whole_runs_at_once(machine, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None finds a champion when it begins; in the end one was the first, and the others met a champion."""
    machines = [machine(f"machine {number}") for number in range(3)]
    running = [each.start(*TRAIN, "--seed", str(seed)) for seed, each in enumerate(machines)]
    for process in running:
        said, _ = process.communicate(timeout=500)
        assert process.returncode == 0, said
        print(said)
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
