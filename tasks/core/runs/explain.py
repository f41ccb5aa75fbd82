"""Why a stage ran: which of its ingredients are other ones than in an earlier run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.core.data.files import listing
from tasks.core.errors import FormatError, UsageError
from tasks.core.runs import tables
from tasks.core.stage import ingredients, publish, stages
from tasks.core.stage.stages import DOWNLOAD, PREDICT
from tasks.core.storage import hashing, manifests
from tasks.core.workspace import Workspace

DETAILED = ("files changed", "predictions changed")  # said in other words, with what exactly changed


def last_stages(dataset: str, workspace: Workspace) -> dict[str, dict[str, Any]]:
    """The stages of the dataset's latest run, as the runs table has them; empty before the first run."""
    runs = tables.read("runs", workspace, dataset)
    if runs.empty:
        return {}
    return dict(json.loads(runs.sort_values("started").iloc[-1]["stages"]))


def is_of_earlier_version(last: Mapping[str, Mapping[str, Any]], workspace: Workspace) -> bool:
    """Whether an earlier version of Plumbline made the outputs of a run.

    Args:
        last: The run's stages, as `last_stages` gives them.
    """
    directory = folder_of("normalize", last.get("normalize", {}).get("digest", ""), workspace)
    try:
        return bool(last) and manifests.read(directory)["ingredients"]["format"] != ingredients.FORMAT
    except FormatError:
        return False


def reasons(
    name: str, before: str, record: Mapping[str, Any], workspace: Workspace, now: Workspace | None = None
) -> list[str]:
    """Which ingredients of a stage differ from those of an earlier output, each as a short phrase.

    Args:
        name: The stage.
        before: Digest of the earlier output.
        record: The ingredients now, as `Ingredients.record` gives them.
        workspace: Where the earlier output's manifest is.
        now: Where the later output is, if elsewhere.

    Returns:
        Empty if nothing differs.
    """
    now = now or workspace
    try:
        old = manifests.read(publish.ensure_manifest(folder_of(name, before, workspace)))["ingredients"]
    except FormatError:
        return ["the earlier output is not there any more"]
    phrases = ingredients.changes(old, record)
    if stages.base_name(name) == "evaluate":
        phrases = _predicted(old, record, workspace, now) + phrases
    if name == "download":
        publish.ensure_local(DOWNLOAD.directory(before, workspace))
        phrases = [
            *_files(
                DOWNLOAD.directory(before, workspace), DOWNLOAD.directory(hashing.digest_of(record), now)
            ),
            *phrases,
        ]
    return list(dict.fromkeys(_in_words(phrase) for phrase in phrases if phrase not in DETAILED))


def stage_rows(stages: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """A run's stages as people read them, from the runs table's column: state, why, seconds, saved."""
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
    """`stage_rows` of one run.

    Args:
        run: A run's id, or "last".

    Raises:
        UsageError: No such run.
    """
    return stage_rows(json.loads(run_of(run, workspace)["stages"]))


def compare_runs(earlier: str, later: str, workspace: Workspace) -> list[dict[str, str]]:
    """For each stage of the later run, what differs from the earlier run.

    Raises:
        UsageError: No such run.
    """
    old, new = (json.loads(run_of(run, workspace)["stages"]) for run in (earlier, later))
    rows = []
    for name in (name for name in new if stages.by_name(name).folder):
        digest, before = new[name]["digest"], old.get(name, {}).get("digest", "")
        same = digest == before
        why = [] if same else _between(name, before, digest, workspace)
        rows.append({"stage": name, "": "same" if same else "differs", "ingredients": "; ".join(why)})
    return rows


def _between(name: str, before: str, after: str, workspace: Workspace) -> list[str]:
    try:
        record = manifests.read(publish.ensure_manifest(folder_of(name, after, workspace)))["ingredients"]
    except FormatError:
        return ["the later output is not there any more"]
    return reasons(name, before, record, workspace)


def run_of(run: str, workspace: Workspace) -> pd.Series:
    """A run's row of the runs table.

    Args:
        run: A run's id, or "last".

    Raises:
        UsageError: No such run.
    """
    runs = tables.read("runs", workspace).sort_values("started")
    chosen = runs if run == "last" else runs[runs["run_id"] == run]
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
        name: As the run has it, such as "train" or "evaluate champion".
    """
    return stages.by_name(name).directory(digest, workspace)


def outputs_complete(name: str, digest: str, workspace: Workspace) -> bool:
    """Whether a stage's output is there and undamaged, here or in the workspace's store.

    True for a stage that leaves no directory.

    An evaluation needs its predictions too.
    """
    if not digest:
        return True
    directory = folder_of(name, digest, workspace)
    if not publish.exists_anywhere(directory):
        return False
    predicted = manifests.read(publish.ensure_manifest(directory))["ingredients"]["inputs"].get("predictions")
    return predicted is None or publish.exists_anywhere(PREDICT.directory(predicted, workspace))


def _files(before: Path, after: Path) -> list[str]:
    return listing.differences(listing.read(before), listing.read(after))


def _predicted(
    old: Mapping[str, Any], new: Mapping[str, Any], workspace: Workspace, now: Workspace
) -> list[str]:
    """What differs in the predictions that two evaluations were computed from."""
    ends = ((workspace, old), (now, new))
    places = [
        publish.ensure_manifest(PREDICT.directory(record["inputs"]["predictions"], place))
        for place, record in ends
    ]
    if not all((place / manifests.MANIFEST).exists() for place in places):
        return []
    before, after = (manifests.read(place)["ingredients"] for place in places)
    return ingredients.changes(before, after)


def _in_words(phrase: str) -> str:
    """A changed input by the stage that makes it.

    >>> _in_words("tensors changed"), _in_words("learning_rate 0.4 -> 0.2")
    ('normalize gave something else', 'learning_rate 0.4 -> 0.2')
    """
    name, _, rest = phrase.rpartition(" ")
    maker = stages.maker_of(name) if rest == "changed" else ""
    return f"{maker} gave something else" if maker else phrase
