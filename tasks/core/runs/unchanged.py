"""Finds out whether a run would only repeat the dataset's last run."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.core.config import NON_OUTPUT_PARAMETERS
from tasks.core.operations import provenance
from tasks.core.registry import registry
from tasks.core.runs import explain, order, tables
from tasks.core.stage import code_hash
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class UnchangedRun:
    """The last run of a dataset, which a new run would repeat.

    Args:
        row: The last run's row of the runs table.
        stages: The last run's stage records.
        since: ISO date of the first run with the same evaluation.
    """

    row: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    since: str

    @property
    def verdict(self) -> str:
        """The verdict of a run that repeats this one."""
        champion = (
            f"champion {self.row['champion']} stays" if self.row["champion"] else "there is no champion"
        )
        return f"{champion}; data, parameters and code unchanged since {self.since}"


def find_unchanged_run(
    raw: RawDataset, parameters: Mapping[str, Any], workspace: Workspace
) -> UnchangedRun | None:
    """The dataset's last run if nothing has changed since then that decides its outcome; otherwise None.

    Nothing has changed if the files and labels, the parameters, Plumbline's source files and the library
    versions are the same, every output is complete, and the champion is intact and the same as after that
    run.

    Args:
        raw: The present listing of the source.
        parameters: The parameters of the new run; JSON values.
        workspace: The workspace with the runs, outputs and models.
    """
    runs = order.by_start(tables.read("runs", workspace, raw.dataset))
    if runs.empty:
        return None
    last = runs.iloc[-1]
    stages = json.loads(last["stages"])
    champion = registry.aliases(raw.dataset, workspace).get(registry.CHAMPION, "")
    unchanged = (
        stages.get("download", {}).get("digest") == raw.digest
        and output_parameters(json.loads(last["parameters"])) == output_parameters(parameters)
        and champion == (last["champion"] or "")
        and not registry.champion_problem(raw.dataset, workspace, thorough=False)
        and (last["source"], json.loads(last["packages"]))
        == (code_hash.source_digest(), provenance.packages())
        and all(explain.outputs_complete(name, entry["digest"], workspace) for name, entry in stages.items())
    )
    if not unchanged:
        return None
    same_evaluation = runs[runs["evaluation"] == last["evaluation"]]
    return UnchangedRun(_row_values(last), stages, f"{same_evaluation['started'].min():%Y-%m-%d}")


def output_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that decide the outcome of a run."""
    return {name: value for name, value in parameters.items() if name not in NON_OUTPUT_PARAMETERS}


def _row_values(row: pd.Series) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}
