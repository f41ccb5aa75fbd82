"""Several replicas train like one device: two processes on loopback, and logical CPU devices as GPUs."""

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

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[4]
SCRIPT = ROOT / "tests" / "support" / "processes" / "cluster_processes.py"
TEXTBOOK = TrainSettings(recipe=RecipeName.textbook, epochs=12, augment=False, seed=3)
GONE = "another process of the training is gone"


def run_cluster_processes(*arguments: object) -> list[dict[str, Any]]:
    """Run tests/support/processes/cluster_processes.py; returns the JSON lines that it prints."""
    completed = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return [json.loads(line) for line in completed.stdout.splitlines()]


def run_scenarios(
    folder: Path, settings: TrainSettings, *scenarios: tuple[object, ...]
) -> list[dict[str, Any]]:
    """Run scenarios (fields of `cluster_processes.Scenario`) one after the other."""
    return run_cluster_processes(folder, json.dumps(asdict(settings)), json.dumps(scenarios))


def published_files(directory: Path) -> dict[str, bytes]:
    """Content of the files that the first process of a scenario published."""
    (output,) = [
        path for path in (directory / "0" / "training").glob("[!.]*") if path.suffix != ".checkpoints"
    ]
    return {name: (output / name).read_bytes() for name in ("weights.npz", "model.keras")}


def history(directory: Path) -> pd.DataFrame:
    """The training history that the first process of a scenario published."""
    (path,) = (directory / "0" / "training").glob("*/history.parquet")
    return pd.read_parquet(path)


def test_two_processes_match_one_and_resume_after_a_kill(tmp_path: Path) -> None:
    one, two, different, killed, resumed = run_scenarios(
        tmp_path,
        TEXTBOOK,
        ("one", [3]),
        ("two", [3, 3]),
        ("different", [3, 4]),
        ("killed", [3, 3], 0, 12),
        ("killed", [3, 3]),
    )
    assert (one["exits"], two["exits"]) == (["0"], ["0", "0"])
    single, cluster = history(tmp_path / "one"), history(tmp_path / "two")
    # The first two epochs are 18 steps; later the losses are so small that rounding has a larger share.
    for column in ("train_loss", "val_loss"):
        assert np.allclose(cluster[column][:2], single[column][:2], rtol=1e-6, atol=0)
        assert np.allclose(cluster[column], single[column], atol=1e-4)
    for column in ("train_accuracy", "val_accuracy"):
        assert cluster[column].tolist() == single[column].tolist()
    assert not (tmp_path / "two" / "1" / "training").exists()  # only the first process writes

    assert different["exits"] == ["2", "2"]
    assert all("1 of 2 processes would train something else" in log for log in different["logs"])

    assert killed["exits"] == ["-9", "1"]
    assert GONE in killed["logs"][1]
    assert resumed["exits"] == ["0", "0"]
    assert all("resumed at epoch" in log for log in resumed["logs"])
    assert published_files(tmp_path / "killed") == published_files(tmp_path / "two")


@pytest.mark.stress
def test_check_same_job_with_different_seeds_fails_in_all_processes(tmp_path: Path) -> None:
    """Before `ReplicaGroup._barrier`, on a loaded machine, 11 of 120 disagreements were reported as a lost
    process."""
    for different in run_scenarios(tmp_path, TEXTBOOK, *[("different", [3, 4])] * 60):
        assert different["exits"] == ["2", "2"]


@pytest.mark.stress
@pytest.mark.parametrize("recipe", [RecipeName.textbook, RecipeName.flash])
def test_cluster_with_killed_processes_ends_with_same_bytes(tmp_path: Path, recipe: RecipeName) -> None:
    settings = TrainSettings(recipe=recipe, epochs=60, augment=recipe is not RecipeName.textbook, seed=5)
    generator = random.Random(0)
    kills = [
        ("killed", [5, 5], number % 2, generator.randint(1, 12), generator.uniform(0, 0.3))
        for number in range(8)
    ]
    *killed, last, undisturbed = run_scenarios(
        tmp_path, settings, *kills, ("killed", [5, 5]), ("undisturbed", [5, 5])
    )
    for number, result in enumerate(killed):
        assert result["exits"][number % 2] == "-9"
        assert GONE in result["logs"][1 - number % 2]
    assert (last["exits"], undisturbed["exits"]) == (["0", "0"], ["0", "0"])
    assert "resumed at epoch" in last["logs"][1]
    assert published_files(tmp_path / "killed") == published_files(tmp_path / "undisturbed")


def test_two_devices_of_one_process_match_one_device(workspace: Workspace) -> None:
    """Two logical CPU devices, in place of GPUs, with unequal shares of batches of 33."""
    (differences,) = run_cluster_processes("mirrored", 2, workspace.root, json.dumps([("flash", 9)]))
    assert differences["variables"] < 1e-4
    assert differences["logits"] < 1e-4
    assert differences["losses"] < 1e-4
    assert differences["loss"] < 1e-6
    assert differences["correct"] == 0
