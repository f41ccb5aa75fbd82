"""Whether a run could only find again what the dataset's last run found."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tasks.core.config import NON_OUTPUT_PARAMETERS
from tasks.core.operations import provenance
from tasks.core.registry import registry
from tasks.core.runs import explain, tables
from tasks.core.stage import code_hash
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class UnchangedRun:
    """The last run of a dataset, which this one would repeat.

    Args:
        row: The last run's row of the runs table.
        stages: Its stages, as the column of that name has them.
        since: ISO date of the first run that found this.
    """

    row: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    since: str

    @property
    def words(self) -> str:
        stands = f"champion {self.row['champion']} stands" if self.row["champion"] else "there is no champion"
        return f"{stands}; data, parameters and code unchanged since {self.since}"


def find_unchanged_run(
    raw: RawDataset, parameters: Mapping[str, Any], workspace: Workspace
) -> UnchangedRun | None:
    """The dataset's last run, if nothing that decides its outcome has changed; else None.

    That is: the same files and labels, parameters, source files and library versions, every output whole,
    and the same champion as after it.

    Args:
        raw: What the source consists of now.
        parameters: The run's; JSON values.
        workspace: Where runs, outputs and models are.
    """
    runs = tables.read("runs", workspace, raw.dataset).sort_values("started")
    if runs.empty:
        return None
    last = runs.iloc[-1]
    stages = json.loads(last["stages"])
    champion = registry.aliases(raw.dataset, workspace).get(registry.CHAMPION, "")
    same = (
        stages.get("download", {}).get("digest") == raw.digest
        and output_parameters(json.loads(last["parameters"])) == output_parameters(parameters)
        and champion == (last["champion"] or "")
        and (last["source"], json.loads(last["packages"]))
        == (code_hash.source_digest(), provenance.packages())
        and all(explain.outputs_complete(name, entry["digest"], workspace) for name, entry in stages.items())
    )
    if not same:
        return None
    alike = runs[runs["evaluation"] == last["evaluation"]]
    return UnchangedRun(_row_values(last), stages, f"{alike['started'].min():%Y-%m-%d}")


def output_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that decide a run's outcome."""
    return {name: value for name, value in parameters.items() if name not in NON_OUTPUT_PARAMETERS}


def _row_values(row: pd.Series) -> dict[str, Any]:
    return {str(name): None if pd.isna(value) else value for name, value in row.items()}
