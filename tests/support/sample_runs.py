"""Three invented runs of CIFAR-10 for the table of runs."""

import json

import pandas as pd

from tasks.core.runs import tables
from tasks.core.workspace import Workspace

RUNS = [("r1", "fast", 0.71, 40.0, 2), ("r2", "textbook", 0.69, 600.0, 10), ("r3", "fast", 0.74, 90.0, 5)]


def append_sample_runs(workspace: Workspace) -> None:
    """Append three runs; in each of them training was cached, and the champion was evaluated too."""
    for number, (run_id, recipe, accuracy, cost, epochs) in enumerate(RUNS):
        stages = {
            "train": {"state": "cached", "cpu_seconds": cost},
            "evaluate": {"state": "ran", "cpu_seconds": 2.0},
            "evaluate champion": {"state": "ran", "cpu_seconds": 1000.0},
            "promote": {"state": "ran", "cpu_seconds": None},
        }
        row = {
            "started": pd.Timestamp(f"2026-01-0{number + 1}T12:00:00Z"),
            "recipe": recipe,
            "test_accuracy": accuracy,
            "test_accuracy_low": accuracy - 0.01,
            "test_accuracy_high": accuracy + 0.01,
            "version": f"v000{number + 1}",
            "promoted": number != 1,
            "verdict": "proven better" if number == 2 else "not proven better",
            "parameters": json.dumps({"epochs": epochs, "augment": number == 0}),
            "stages": json.dumps(stages),
        }
        tables.append("runs", "cifar10", run_id, pd.DataFrame([row]), workspace)
