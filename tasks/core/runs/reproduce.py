"""Reproduction: what a past run is repeated from, and whether the repetition is equivalent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.core import shares
from tasks.core.config import NON_OUTPUT_PARAMETERS
from tasks.core.data.sources.catalog import DATASETS
from tasks.core.errors import FormatError, UsageError
from tasks.core.metrics.comparison import equivalence
from tasks.core.metrics.comparison.equivalence import Answer, Equivalence
from tasks.core.runs import explain, tables
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace, expanded, is_address

MARGIN = 0.01  # of accuracy: a smaller difference counts as noise
# Columns of `runs` that name the machine. They are no ingredients: the same digests may give other bytes.
MACHINE = ("precision", "threads", "processor", "device", "python")


class Reproducibility(StrEnum):
    """The outcomes of a reproduction.

    identical: every probability is the same to the last bit. within_noise: the 95 % interval of the
    difference lies within the margin. not_reproduced: it does not, and it excludes 0; or the images differ.
    undecided: neither is proven.
    """

    identical = "identical"
    within_noise = "within noise"
    not_reproduced = "not reproduced"
    undecided = "cannot be told"

    @property
    def exit_code(self) -> int:
        """The exit code of `plumbline reproduce`."""
        return {Reproducibility.not_reproduced: 3, Reproducibility.undecided: 4}.get(self, 0)


OUTCOMES = {
    Answer.equivalent: Reproducibility.within_noise,
    Answer.different: Reproducibility.not_reproduced,
    Answer.open: Reproducibility.undecided,
}


@dataclass(frozen=True)
class ReproductionResult:
    """The result of a reproduction.

    Args:
        outcome: The outcome.
        reason: The outcome as text, for the console.
        differences: The ingredients that differ, each with its stage, then what differs of the machine; the
            first is the most likely cause.
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


def folder_of_paths(run: Mapping[str, Any]) -> Path:
    """The folder at which the relative paths of a run start.

    It is the present folder if the run recorded none, as older runs do, or if that folder is gone.

    Args:
        run: The run's row of the runs table.
    """
    recorded = run.get("folder")
    return Path(recorded) if isinstance(recorded, str) and Path(recorded).is_dir() else Path.cwd()


def check_images(run: Mapping[str, Any], folder: Path) -> None:
    """Refuse to repeat a run whose images are at a path where nothing is any more.

    Args:
        run: The run's row of the runs table.
        folder: Where its relative paths start.

    Raises:
        UsageError: The images are not there.
    """
    dataset = parameters(run).get("dataset", "digits")
    if dataset in DATASETS or is_address(dataset) or (folder / expanded(dataset)).exists():
        return
    is_known = Path(dataset).is_absolute() or str(folder) == run.get("folder")
    called = "call it in the folder in which the run was called: its path starts there"
    raise UsageError(
        f"the images of run {run['run_id']} are not there",
        expected=f"{dataset}, which the run was given",
        found=f"nothing at {folder / expanded(dataset)}",
        done="nothing was started",
        todo="move the images back, or lay a link to them there" if is_known else called,
    )


def lend_downloads(workspace: Workspace, scratch: Workspace) -> None:
    """Let a scratch workspace use the downloaded archives; it verifies them again."""
    if workspace.downloads.exists():
        scratch.root.mkdir(parents=True, exist_ok=True)
        scratch.downloads.symlink_to(workspace.downloads, target_is_directory=True)


@dataclass(frozen=True)
class RecordedEnvironment:
    """The Python packages of a run.

    Args:
        python: Version of Python; empty if it was not recorded.
        versions: Versions by distribution.
        complete: Whether these are all packages; older runs recorded a dozen.
    """

    python: str
    versions: Mapping[str, str]
    complete: bool


def recorded_environment(run: Mapping[str, Any]) -> RecordedEnvironment:
    """The Python packages that a run recorded.

    Args:
        run: The run's row of the runs table.
    """
    complete = isinstance(run.get("distributions"), str)
    versions = json.loads(run["distributions"] if complete else run["packages"])
    return RecordedEnvironment(run.get("python") or "", versions, complete)


def judge(
    run: Mapping[str, Any], workspace: Workspace, scratch: Workspace, margin: float = MARGIN
) -> ReproductionResult:
    """Compare a past run with the only run of a scratch workspace.

    Args:
        run: The past run's row of the runs table.
        workspace: The workspace of the past run.
        scratch: The workspace in which the run was repeated.
        margin: The largest difference of accuracies that counts as noise, above 0 and at most 1.

    Raises:
        FormatError: The predictions of one of the runs do not exist.
    """
    repeated = explain.run_of("last", scratch)
    causes = (*differences(run, repeated, workspace, scratch), *machine_differences(run, repeated))
    before, after = (
        _predictions(row, run_workspace) for row, run_workspace in ((run, workspace), (repeated, scratch))
    )
    if not _same_images(before, after):
        reason = f"the images differ: {len(before):,} then, {len(after):,} now"
        return ReproductionResult(Reproducibility.not_reproduced, reason, causes)
    if _same_probabilities(before, after):
        same = shares.said(len(after), "image has", "images have")
        reason = f"{same} the same probabilities, to the last bit"
        return ReproductionResult(Reproducibility.identical, reason, causes)
    return _judged(_compared(before, after, margin), causes)


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


def machine_differences(run: Mapping[str, Any], repeated: Mapping[str, Any]) -> list[str]:
    """What differs between the machines of two trainings, as phrases.

    Args:
        run, repeated: Rows of the runs table. What a row does not have, since it is older, is left out.
    """
    return [
        f"{name} {_as_text(run[name])} -> {_as_text(repeated[name])}"
        for name in MACHINE
        if not pd.isna(run.get(name)) and not pd.isna(repeated.get(name)) and run[name] != repeated[name]
    ]


def _as_text(value: Any) -> str:
    """Numbers are floats in a column that older rows lack."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _predictions(run: Mapping[str, Any], workspace: Workspace) -> pd.DataFrame:
    """The rows of a run's test images in the predictions table, sorted by image_id and row.

    Raises:
        FormatError: There are no such rows.
    """
    of_run = [("evaluation", "==", run["evaluation"]), ("split", "==", "test")]
    predictions = tables.read("predictions", workspace, filters=of_run)
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


def _compared(before: pd.DataFrame, after: pd.DataFrame, margin: float) -> Equivalence:
    now, then = (
        (table["class_name"] == table["predicted_class_name"]).to_numpy() for table in (after, before)
    )
    return equivalence.compare(int((now & ~then).sum()), int((then & ~now).sum()), len(now), margin)


def _judged(compared: Equivalence, causes: tuple[str, ...]) -> ReproductionResult:
    outcome = OUTCOMES[compared.answer]
    low, high, margin = compared.low * 100, compared.high * 100, f"{compared.margin * 100:g}"
    reason = (
        f"now {compared.difference * 100:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}, on the same"
        f" {shares.counted(compared.images, 'image')}; margin {margin}"
    )
    if outcome is Reproducibility.undecided:
        reason = (
            f"with {shares.counted(compared.images, 'image')} the difference may be as large as"
            f" {compared.largest * 100:.1f} points, margin {margin}; {reason.partition(',')[0]}"
        )
    return ReproductionResult(outcome, reason, causes)
