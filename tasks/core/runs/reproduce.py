"""Reproduction: repeats a past run from its parameters and compares the predictions."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.config import NON_OUTPUT_PARAMETERS
from tasks.core.errors import FormatError
from tasks.core.metrics import paired
from tasks.core.runs import explain, tables
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace


class Reproducibility(StrEnum):
    """The outcomes of a reproduction.

    identical: every probability is the same to the last bit. within_noise: the probabilities differ, and
    neither model is proven better on the same images. not_reproduced: one model is proven better, or the
    images differ.
    """

    identical = "identical"
    within_noise = "within noise"
    not_reproduced = "not reproduced"


@dataclass(frozen=True)
class ReproductionResult:
    """The result of a reproduction.

    Args:
        outcome: The outcome.
        reason: The outcome as text, for the console.
        differences: The ingredients that differ, each with its stage; the first is the most likely cause.
    """

    outcome: Reproducibility
    reason: str
    differences: tuple[str, ...]


def parameters(run: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a run that decide its outcome; paths and run control are left out.

    Args:
        run: The run's row of the runs table.
    """
    given = json.loads(run["parameters"])
    return {name: value for name, value in given.items() if name not in NON_OUTPUT_PARAMETERS}


def lend_downloads(workspace: Workspace, scratch: Workspace) -> None:
    """Let a scratch workspace use the downloaded archives; it verifies them again."""
    if workspace.downloads.exists():
        scratch.root.mkdir(parents=True, exist_ok=True)
        scratch.downloads.symlink_to(workspace.downloads, target_is_directory=True)


def judge(run: Mapping[str, Any], workspace: Workspace, scratch: Workspace) -> ReproductionResult:
    """Compare a past run with the only run of a scratch workspace.

    Args:
        run: The past run's row of the runs table.
        workspace: The workspace of the past run.
        scratch: The workspace in which the run was repeated.

    Raises:
        FormatError: The predictions of one of the runs do not exist.
    """
    repeated = explain.run_of("last", scratch)
    causes = tuple(differences(run, repeated, workspace, scratch))
    before, after = (
        _predictions(row, run_workspace) for row, run_workspace in ((run, workspace), (repeated, scratch))
    )
    if not _same_images(before, after):
        reason = f"the images differ: {len(before):,} then, {len(after):,} now"
        return ReproductionResult(Reproducibility.not_reproduced, reason, causes)
    if _same_probabilities(before, after):
        reason = f"{len(after):,} images have the same probabilities, to the last bit"
        return ReproductionResult(Reproducibility.identical, reason, causes)
    return _paired(before, after, causes)


def differences(
    run: Mapping[str, Any], repeated: Mapping[str, Any], workspace: Workspace, scratch: Workspace
) -> list[str]:
    """The ingredients that differ, with their stage; a change of an earlier stage's output is left out."""
    then, now = json.loads(run["stages"]), json.loads(repeated["stages"])
    changes = []
    # The report only shows the outputs of the other stages.
    compared_stages = (name for name in then if name != "report")
    for name in (name for name in compared_stages if then[name]["digest"] and name in now):
        if then[name]["digest"] == now[name]["digest"]:
            continue
        directory = explain.folder_of(name, now[name]["digest"], scratch)
        record = manifests.read(directory)["ingredients"]
        phrases = explain.reasons(name, then[name]["digest"], record, workspace, scratch)
        changes += [f"{name}: {phrase}" for phrase in phrases if not phrase.endswith(explain.OUTPUT_CHANGED)]
    return changes


def _predictions(run: Mapping[str, Any], workspace: Workspace) -> pd.DataFrame:
    """The rows of a run's test images in the predictions table, sorted by image_id and row.

    Raises:
        FormatError: There are no such rows.
    """
    table = tables.read("predictions", workspace)
    predictions = table[(table["evaluation"] == run["evaluation"]) & (table["split"] == "test")]
    if predictions.empty:
        raise FormatError(
            f"the predictions of run {run['run_id']} do not exist any more",
            expected=f"rows of evaluation {run['evaluation']} in {workspace.metrics / 'predictions'}",
            done="nothing was compared",
        )
    return predictions.sort_values(["image_id", "row"], ignore_index=True)


def _same_images(before: pd.DataFrame, after: pd.DataFrame) -> bool:
    return len(before) == len(after) and all(
        np.array_equal(before[name], after[name]) for name in ("image_id", "class_name")
    )


def _same_probabilities(before: pd.DataFrame, after: pd.DataFrame) -> bool:
    return np.array_equal(np.stack(before["probabilities"]), np.stack(after["probabilities"]))


def _paired(before: pd.DataFrame, after: pd.DataFrame, causes: tuple[str, ...]) -> ReproductionResult:
    correct, correct_before = (
        (table["class_name"] == table["predicted_class_name"]).to_numpy() for table in (after, before)
    )
    outcome = paired.compare_outcomes(correct, correct_before)
    differ = outcome.better or outcome.worse
    reason = f"now {paired.difference_text(outcome)}, on the same {len(after):,} images"
    return ReproductionResult(
        Reproducibility.not_reproduced if differ else Reproducibility.within_noise, reason, causes
    )
