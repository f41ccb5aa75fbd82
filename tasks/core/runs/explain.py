"""Explains why a stage ran: which of its ingredients differ from those of an earlier run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.core.data.files import listing
from tasks.core.errors import FormatError, UsageError
from tasks.core.runs import order, tables
from tasks.core.stage import ingredients, publish, stage_lookup
from tasks.core.stage.stages import DOWNLOAD, PREDICT
from tasks.core.storage import hashing, manifests
from tasks.core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

OUTPUT_CHANGED = f"output {ingredients.CHANGED}"
DOWNLOAD_CHANGED, OTHER_DATASET = f"{DOWNLOAD.name} {OUTPUT_CHANGED}", "another dataset"
DETAILED = ("files changed", "predictions changed")  # replaced by more detailed phrases


def last_stages(dataset: str, workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The stage records of the dataset's latest run, as in the runs table; empty before the first run."""
    runs = tables.read("runs", workspace, dataset, ["started", "stages"])
    if runs.empty:
        return {}
    return dict(json.loads(order.by_start(runs).iloc[-1]["stages"]))


def is_of_earlier_version(last: Mapping[str, Mapping[str, Any]], workspace: Workspace) -> bool:
    """Whether an earlier version of Plumbline wrote the outputs of a run.

    Args:
        last: The stage records of the run, as `last_stages` returns them.
        workspace: The workspace with the outputs.
    """
    directory = folder_of("normalize", last.get("normalize", {}).get("digest", ""), workspace)
    try:
        return bool(last) and manifests.read(directory)["ingredients"]["format"] != ingredients.FORMAT
    except FormatError:
        return False


def reasons(
    name: str,
    before: str,
    record: Mapping[str, Any],
    workspace: Workspace,
    later_workspace: Workspace | None = None,
) -> list[str]:
    """Which ingredients of a stage differ from those of an earlier output, each as a short phrase.

    Args:
        name: Name of the stage.
        before: Digest of the earlier output.
        record: The present ingredients, as `Ingredients.record` returns them.
        workspace: The workspace with the earlier output.
        later_workspace: The workspace with the later output, if it is another one.

    Returns:
        The phrases; empty if nothing differs.
    """
    later_workspace = later_workspace or workspace
    try:
        old = manifests.read(publish.ensure_manifest(folder_of(name, before, workspace)))["ingredients"]
    except FormatError:
        return ["the earlier output does not exist any more"]
    phrases = ingredients.changes(old, record)
    if stage_lookup.base_name(name) == "evaluate":
        phrases = _predicted(old, record, workspace, later_workspace) + phrases
    if name == DOWNLOAD.name:
        phrases = _downloaded(old, record, workspace, later_workspace, phrases)
    return list(dict.fromkeys(_with_stage(phrase) for phrase in phrases if phrase not in DETAILED))


def stage_rows(stages: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """The stages of a run as text: stage, state, seconds, saved (seconds), why.

    Args:
        stages: The stage records from the column `stages` of the runs table.
    """
    return [
        {
            "stage": name,
            "state": entry["state"],
            "seconds": f"{entry['seconds']:.1f}",
            "saved": "" if entry["state"] == "ran" else f"{entry.get('made_in_seconds') or 0:.1f}",
            "why": "; ".join(entry.get("why") or ()),
        }
        for name, entry in stages.items()
    ]


def stages_of_run(run: str, workspace: Workspace) -> list[dict[str, str]]:
    """The stages of one run as text, see `stage_rows`.

    Args:
        run: The id of a run, or "last".
        workspace: The workspace with the metrics tables.

    Raises:
        UsageError: There is no such run.
    """
    return stage_rows(json.loads(run_of(run, workspace)["stages"]))


def compare_runs(earlier: str, later: str, workspace: Workspace) -> list[dict[str, str]]:
    """For each stage of the later run, what differs from the earlier run.

    Args:
        earlier: The id of a run, or "last".
        later: The id of a run, or "last".
        workspace: The workspace with the metrics tables and the outputs.

    Raises:
        UsageError: There is no such run.
    """
    before, after = (run_of(run, workspace) for run in (earlier, later))
    old, new = (json.loads(run["stages"]) for run in (before, after))
    is_other_dataset = before["dataset"] != after["dataset"]
    rows = []
    for name in (name for name in new if stage_lookup.by_name(name).folder):
        digest, earlier_digest = new[name]["digest"], old.get(name, {}).get("digest", "")
        same = digest == earlier_digest
        why = [] if same else _between(name, earlier_digest, digest, workspace)
        if is_other_dataset:
            why = [OTHER_DATASET if phrase == DOWNLOAD_CHANGED else phrase for phrase in why]
        rows.append({"stage": name, "": "same" if same else "differs", "ingredients": "; ".join(why)})
    return rows


def _between(name: str, before: str, after: str, workspace: Workspace) -> list[str]:
    if not before:
        return ["the earlier run has no such stage"]
    try:
        record = manifests.read(publish.ensure_manifest(folder_of(name, after, workspace)))["ingredients"]
    except FormatError:
        return ["the later output does not exist any more"]
    return reasons(name, before, record, workspace)


def run_of(run: str, workspace: Workspace) -> "pd.Series":
    """The row of a run in the runs table.

    Args:
        run: The id of a run, or "last".
        workspace: The workspace with the metrics tables.

    Raises:
        UsageError: There is no such run.
    """
    runs = order.by_start(tables.read("runs", workspace))
    if runs.empty:
        todo = "`plumbline train` starts one; --workspace names another workspace"
        raise UsageError(f"there is no run in {workspace.address or workspace.root}", todo=todo)
    # Compared by Python: Arrow raises UnicodeEncodeError for a name that is not UTF-8.
    chosen = runs if run == "last" else runs[[run_id == run for run_id in runs["run_id"]]]
    if chosen.empty:
        latest = ", ".join(runs["run_id"].tail(5))
        raise UsageError(
            f"there is no run {run}",
            expected=f"last, or one of the ids of `plumbline compare --columns run_id`: ... {latest}",
            found="no row of that id in the runs table",
        )
    return chosen.iloc[-1]


def folder_of(name: str, digest: str, workspace: Workspace) -> Path:
    """The directory of a stage's output.

    Args:
        name: The name in the run's stage records, such as "train" or "evaluate champion".
        digest: Digest of the output.
        workspace: The workspace with the output.
    """
    return stage_lookup.by_name(name).directory(digest, workspace)


def outputs_complete(name: str, digest: str, workspace: Workspace) -> bool:
    """Whether a stage's output exists undamaged, locally or in the workspace's store.

    The output of an evaluation includes its predictions.

    Args:
        name: The name in the run's stage records.
        digest: Digest of the output; empty for a stage that writes no directory, which is always complete.
        workspace: The workspace with the output.
    """
    if not digest:
        return True
    directory = folder_of(name, digest, workspace)
    if not publish.exists_anywhere(directory):
        return False
    predicted = manifests.read(publish.ensure_manifest(directory))["ingredients"]["inputs"].get("predictions")
    return predicted is None or publish.exists_anywhere(PREDICT.directory(predicted, workspace))


def _downloaded(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    workspace: Workspace,
    later_workspace: Workspace,
    phrases: list[str],
) -> list[str]:
    """How many files differ, before the other phrases; of another dataset only its name."""
    names = [record["parameters"].get("dataset") for record in (old, new)]
    if names[0] != names[1]:
        return [f"dataset {names[0]} -> {names[1]}"]
    sides = ((workspace, old), (later_workspace, new))
    directories = [DOWNLOAD.directory(hashing.digest_of(record), side) for side, record in sides]
    publish.ensure_local(directories[0])
    return listing.differences(*map(listing.read, directories)) + phrases


def _predicted(
    old: Mapping[str, Any], new: Mapping[str, Any], workspace: Workspace, later_workspace: Workspace
) -> list[str]:
    """Which ingredients differ between the predictions of two evaluations."""
    records = ((workspace, old), (later_workspace, new))
    directories = [
        publish.ensure_manifest(PREDICT.directory(record["inputs"]["predictions"], record_workspace))
        for record_workspace, record in records
    ]
    if not all((directory / manifests.MANIFEST).exists() for directory in directories):
        return []
    before, after = (manifests.read(directory)["ingredients"] for directory in directories)
    return ingredients.changes(before, after)


def _with_stage(phrase: str) -> str:
    """Names the stage that made an input, in place of the input.

    >>> _with_stage("tensors changed"), _with_stage("features is new")
    ('normalize output changed', 'embed output is new')
    >>> _with_stage("learning_rate 0.4 -> 0.2")
    'learning_rate 0.4 -> 0.2'
    """
    name, _, rest = phrase.partition(" ")
    said_of_inputs = (ingredients.CHANGED, ingredients.NEW, ingredients.LEFT_OUT)
    stage = stage_lookup.maker_of(name) if rest in said_of_inputs else ""
    return f"{stage} output {rest}" if stage else phrase
