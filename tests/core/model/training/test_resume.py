"""Trainings in processes of their own, killed and not: the bytes that they end with."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.model.training import train
from tasks.core.workspace import Workspace
from tests.support import striped_tensors

ROOT = Path(__file__).resolve().parents[4]
KILLED = ROOT / "tests" / "support" / "killed_training_process.py"
HOW = {signal.SIGKILL: "signal 9", signal.SIGTERM: "exit 143", signal.SIGINT: "exit 130"}
PICTURES: dict[str, Any] = {"shape": (16, 16, 3), "train": (200, 200, 200)}


def trained(
    folder: Path, settings: TrainSettings, signals: Sequence[int], most: int = 0, seed: int = 0
) -> tuple[list[dict[str, Any]], dict[str, bytes], str]:
    """Train in a workspace in `folder`, ended by `signals` on the way, each time after a few reports.

    Returns:
        What the process printed, the bytes of what was trained, and the log.
    """
    workspace = Workspace.open(folder / "workspace")
    cache = striped_tensors.cache(workspace, **PICTURES)
    done = subprocess.run(
        [
            sys.executable,
            str(KILLED),
            str(workspace.root),
            json.dumps(asdict(cache)),
            json.dumps(asdict(settings)),
            json.dumps(signals),
            str(most),
            str(seed),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONHASHSEED": str(len(signals)), "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    directory = workspace.root / "training" / train.ingredients(cache, settings).digest
    files = {name: (directory / name).read_bytes() for name in ("weights.npz", "model.keras")}
    return [json.loads(line) for line in done.stdout.splitlines()], files, done.stderr


def ended_and_not(
    tmp_path: Path, settings: TrainSettings, signals: Sequence[int], most: int
) -> tuple[list[dict[str, Any]], str]:
    """Assert that a training ended again and again has the bytes of an undisturbed one, in another folder.

    Returns:
        How each training ended, and the log.
    """
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    _, undisturbed, _ = trained(tmp_path / "one", settings, signals=[])
    ends, resumed, log = trained(tmp_path / "other", settings, signals, most)
    assert [end["how"] for end in ends] == [*(HOW[number] for number in signals), "exit 0"]
    assert all(end["damaged"] == 0 for end in ends[:-1])
    assert resumed == undisturbed
    return ends[:-1], log


@pytest.mark.slow
def test_killed_stopped_and_interrupted_it_ends_with_the_same_bytes(
    workspace: Workspace, tmp_path: Path
) -> None:
    settings = TrainSettings(recipe=RecipeName.flash, epochs=16, batch_size=32, seed=7)
    signals = [signal.SIGTERM, signal.SIGKILL, signal.SIGINT]
    ends, log = ended_and_not(tmp_path, settings, signals, most=5)
    steps = [end["step"] for end in ends]
    assert 0 < steps[0] <= steps[1] < steps[2]
    assert log.count("the next run goes on from there") == 2
    assert log.count("resumed at epoch") == 3


@pytest.mark.stress
@pytest.mark.parametrize(
    "settings",
    [
        TrainSettings(recipe=RecipeName.flash, epochs=200, batch_size=16, seed=1),
        TrainSettings(recipe=RecipeName.textbook, epochs=200, augment=True, patience=1000, seed=2),
    ],
    ids=["flash", "seed"],
)
def test_fifty_kills_change_no_byte(workspace: Workspace, tmp_path: Path, settings: TrainSettings) -> None:
    ends, _ = ended_and_not(tmp_path, settings, [signal.SIGKILL] * 50, most=6)
    assert len({end["step"] for end in ends}) > 10  # it came further between kills
