"""Several replicas train as one device does: two processes on loopback, and logical CPU devices for GPUs."""

import json
import os
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[4]
CLUSTER = ROOT / "tests" / "support" / "cluster_processes.py"
TEXTBOOK = TrainSettings(recipe=RecipeName.textbook, epochs=12, augment=False, seed=3)
GONE = "another process of the training is gone"


def told(*arguments: object) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, str(CLUSTER), *map(str, arguments)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def scenes(folder: Path, settings: TrainSettings, *which: tuple[object, ...]) -> list[dict[str, Any]]:
    return told(folder, json.dumps(asdict(settings)), json.dumps(which))


def made(place: Path) -> dict[str, bytes]:
    """What the first process of a scene published."""
    (directory,) = [
        path for path in (place / "0" / "training").glob("[!.]*") if path.suffix != ".checkpoints"
    ]
    return {name: (directory / name).read_bytes() for name in ("weights.npz", "model.keras")}


def history(place: Path) -> pd.DataFrame:
    (path,) = (place / "0" / "training").glob("*/history.parquet")
    return pd.read_parquet(path)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_go_on_after_a_kill(tmp_path: Path) -> None:
    one, two, torn, killed, resumed = scenes(
        tmp_path,
        TEXTBOOK,
        ("one", [3]),
        ("two", [3, 3]),
        ("torn", [3, 4]),
        ("killed", [3, 3], 0, 12),
        ("killed", [3, 3]),
    )
    assert (one["how"], two["how"]) == (["0"], ["0", "0"])
    alone, together = history(tmp_path / "one"), history(tmp_path / "two")
    for figure in ("train_loss", "val_loss"):  # of 18 steps; then ever smaller losses make more of rounding
        assert np.allclose(together[figure][:2], alone[figure][:2], rtol=1e-6, atol=0)
        assert np.allclose(together[figure], alone[figure], atol=1e-4)
    for figure in ("train_accuracy", "val_accuracy"):
        assert together[figure].tolist() == alone[figure].tolist()
    assert not (tmp_path / "two" / "1" / "training").exists()  # only the first process writes

    assert torn["how"] == ["2", "2"]
    assert all("1 of 2 processes would train something else" in said for said in torn["said"])

    assert killed["how"] == ["-9", "1"]
    assert GONE in killed["said"][1]
    assert resumed["how"] == ["0", "0"]
    assert all("resumed at epoch" in said for said in resumed["said"])
    assert made(tmp_path / "killed") == made(tmp_path / "two")


@pytest.mark.stress
def test_no_process_leaves_before_the_others_know_why(tmp_path: Path) -> None:
    """Beside other work 11 of 120 disagreements were told as a process that is gone, before `Team._part`."""
    for torn in scenes(tmp_path, TEXTBOOK, *[("torn", [3, 4])] * 60):
        assert torn["how"] == ["2", "2"]


@pytest.mark.stress
@pytest.mark.parametrize("recipe", [RecipeName.textbook, RecipeName.flash])
def test_kills_of_either_process_change_no_byte(tmp_path: Path, recipe: RecipeName) -> None:
    settings = TrainSettings(recipe=recipe, epochs=60, augment=recipe is not RecipeName.textbook, seed=5)
    moments = random.Random(0)
    kills = [
        ("killed", [5, 5], number % 2, moments.randint(1, 12), moments.uniform(0, 0.3)) for number in range(8)
    ]
    *ends, last, undisturbed = scenes(tmp_path, settings, *kills, ("killed", [5, 5]), ("undisturbed", [5, 5]))
    for number, end in enumerate(ends):
        assert end["how"][number % 2] == "-9"
        assert GONE in end["said"][1 - number % 2]
    assert (last["how"], undisturbed["how"]) == (["0", "0"], ["0", "0"])
    assert "resumed at epoch" in last["said"][1]
    assert made(tmp_path / "killed") == made(tmp_path / "undisturbed")


@pytest.mark.slow
def test_devices_of_one_process_train_as_one_does(workspace: Workspace) -> None:
    """Two logical CPU devices with unequal shares of batches of 33; no GPUs were at hand."""
    (found,) = told("mirrored", 2, workspace.root, json.dumps([("flash", 9)]))
    assert found["variables"] < 1e-4
    assert found["logits"] < 1e-4
    assert found["loss"] < 1e-6
    assert found["right"] == 0
