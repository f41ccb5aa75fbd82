"""Reproduction: does a past run, made again from its parameters, come to the same?"""

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
    """identical: the same probability for every image, to the last bit. within_noise: other ones, and neither
    model is shown better on the same images. not_reproduced: one is, or the images are other ones.
    """

    identical = "identical"
    within_noise = "within noise"
    not_reproduced = "not reproduced"


@dataclass(frozen=True)
class ReproductionResult:
    """What came out.

    Args:
        words: Of the outcome, for a person.
        differences: The ingredients that differ, each with its stage; the first is the likeliest cause.
    """

    outcome: Reproducibility
    words: str
    differences: tuple[str, ...]


def parameters(run: Mapping[str, Any]) -> dict[str, Any]:
    """What a run was called with, without what says where and when.

    Args:
        run: Its row of the runs table.
    """
    given = json.loads(run["parameters"])
    return {name: value for name, value in given.items() if name not in NON_OUTPUT_PARAMETERS}


def lend_downloads(workspace: Workspace, scratch: Workspace) -> None:
    """Let a scratch workspace use the archives that are there already; they are verified again there."""
    if workspace.downloads.exists():
        scratch.root.mkdir(parents=True, exist_ok=True)
        scratch.downloads.symlink_to(workspace.downloads, target_is_directory=True)


def judge(run: Mapping[str, Any], workspace: Workspace, scratch: Workspace) -> ReproductionResult:
    """Hold a past run against the one run of a scratch workspace.

    Args:
        run: The past run's row of the runs table.
        workspace: Where the past run was.
        scratch: Where it was made again.
    """
    again = explain.run_of("last", scratch)
    found = tuple(differences(run, again, workspace, scratch))
    before, after = (_predictions(row, place) for row, place in ((run, workspace), (again, scratch)))
    if not _same_images(before, after):
        words = f"the images are other ones: {len(before):,} then, {len(after):,} now"
        return ReproductionResult(Reproducibility.not_reproduced, words, found)
    if _same_probabilities(before, after):
        words = f"{len(after):,} images have the same probabilities, to the last bit"
        return ReproductionResult(Reproducibility.identical, words, found)
    return _paired(before, after, found)


def differences(
    run: Mapping[str, Any], again: Mapping[str, Any], workspace: Workspace, scratch: Workspace
) -> list[str]:
    """Which ingredients of which stages differ; what only follows from an earlier stage is left out."""
    then, now = json.loads(run["stages"]), json.loads(again["stages"])
    lines = []
    decisive = (name for name in then if name != "report")  # which only shows what the others made
    for name in (name for name in decisive if then[name]["digest"] and name in now):
        if then[name]["digest"] == now[name]["digest"]:
            continue
        place = explain.folder_of(name, now[name]["digest"], scratch)
        record = manifests.read(place)["ingredients"]
        own = explain.reasons(name, then[name]["digest"], record, workspace, scratch)
        lines += [f"{name}: {phrase}" for phrase in own if not phrase.endswith("gave something else")]
    return lines


def _predictions(run: Mapping[str, Any], workspace: Workspace) -> pd.DataFrame:
    """The test images' rows of the predictions table, by the image and its place.

    Raises:
        FormatError: There are none.
    """
    table = tables.read("predictions", workspace)
    own = table[(table["evaluation"] == run["evaluation"]) & (table["split"] == "test")]
    if own.empty:
        raise FormatError(
            f"the predictions of run {run['run_id']} are not there any more",
            expected=f"rows of evaluation {run['evaluation']} in {workspace.metrics / 'predictions'}",
            done="nothing was compared",
        )
    return own.sort_values(["image_id", "row"], ignore_index=True)


def _same_images(before: pd.DataFrame, after: pd.DataFrame) -> bool:
    return len(before) == len(after) and all(
        np.array_equal(before[name], after[name]) for name in ("image_id", "class_name")
    )


def _same_probabilities(before: pd.DataFrame, after: pd.DataFrame) -> bool:
    return np.array_equal(np.stack(before["probabilities"]), np.stack(after["probabilities"]))


def _paired(before: pd.DataFrame, after: pd.DataFrame, found: tuple[str, ...]) -> ReproductionResult:
    right, right_before = (
        (table["class_name"] == table["predicted_class_name"]).to_numpy() for table in (after, before)
    )
    outcome = paired.compare_outcomes(right, right_before)
    differ = outcome.better or outcome.worse
    words = f"now {paired.difference_text(outcome)}, on the same {len(after):,} images"
    return ReproductionResult(
        Reproducibility.not_reproduced if differ else Reproducibility.within_noise, words, found
    )
