"""Trainings in child processes: stopped and resumed ones end with the bytes of uninterrupted ones."""

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

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
SCRIPT = ROOT / "tests" / "support" / "processes" / "killed_training_process.py"
ENDS = {signal.SIGKILL: "signal 9", signal.SIGTERM: "exit 143", signal.SIGINT: "exit 130"}
IMAGES: dict[str, Any] = {"shape": (16, 16, 3), "train": (200, 200, 200)}


def trained(
    folder: Path, settings: TrainSettings, signals: Sequence[int], max_reports: int = 0, seed: int = 0
) -> tuple[list[dict[str, Any]], dict[str, bytes], str]:
    """Train in a workspace in `folder`, stopped by each of `signals` after at most `max_reports` reports.

    Returns:
        The JSON lines of the script, the bytes of the output's files, and the log.
    """
    workspace = Workspace.open(folder / "workspace")
    cache = striped_tensors.cache(workspace, **IMAGES)
    completed = subprocess.run(
        [
            sys.executable,
            str(SCRIPT),
            str(workspace.root),
            json.dumps(asdict(cache)),
            json.dumps(asdict(settings)),
            json.dumps(signals),
            str(max_reports),
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
    return [json.loads(line) for line in completed.stdout.splitlines()], files, completed.stderr


def assert_same_bytes(
    tmp_path: Path, settings: TrainSettings, signals: Sequence[int], max_reports: int
) -> tuple[list[dict[str, Any]], str]:
    """Assert that a training that is stopped repeatedly has the bytes of an uninterrupted one.

    Returns:
        The script's JSON line of each stopped training, and the log.
    """
    for name in ("uninterrupted", "stopped"):
        (tmp_path / name).mkdir()
    _, expected, _ = trained(tmp_path / "uninterrupted", settings, signals=[])
    results, resumed, log = trained(tmp_path / "stopped", settings, signals, max_reports)
    assert [result["end"] for result in results] == [*(ENDS[number] for number in signals), "exit 0"]
    assert all(result["damaged"] == 0 for result in results[:-1])
    assert resumed == expected
    return results[:-1], log


def test_train_after_term_kill_and_interrupt_ends_with_same_bytes(
    workspace: Workspace, tmp_path: Path
) -> None:
    settings = TrainSettings(recipe=RecipeName.flash, epochs=16, batch_size=32, seed=7)
    signals = [signal.SIGTERM, signal.SIGKILL, signal.SIGINT]
    results, log = assert_same_bytes(tmp_path, settings, signals, max_reports=5)
    steps = [result["step"] for result in results]
    assert 0 < steps[0] <= steps[1] < steps[2]
    assert log.count("the next run resumes from there") == 2
    assert log.count("resumed at epoch") == 3


@pytest.mark.stress
@pytest.mark.parametrize(
    "settings",
    [
        TrainSettings(recipe=RecipeName.flash, epochs=200, batch_size=16, seed=1),
        TrainSettings(recipe=RecipeName.textbook, epochs=200, augment=True, patience=1000, seed=2),
    ],
    ids=["flash", "textbook"],
)
def test_train_after_fifty_kills_ends_with_same_bytes(
    workspace: Workspace, tmp_path: Path, settings: TrainSettings
) -> None:
    results, _ = assert_same_bytes(tmp_path, settings, [signal.SIGKILL] * 50, max_reports=6)
    assert len({result["step"] for result in results}) > 10  # training progressed between kills
