"""Finds out whether a run would only repeat the dataset's last run, and records a run that does.

It imports neither Prefect nor pandas (0.5 CPU-s): such a run takes a second.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core import shares
from tasks.core.config import NON_OUTPUT_PARAMETERS
from tasks.core.evaluation import scores
from tasks.core.metrics.comparison import baseline
from tasks.core.operations import provenance
from tasks.core.registry import registry
from tasks.core.runs import explain, order, tables
from tasks.core.runs.columns import schemas
from tasks.core.runs.run_record import RunRecord
from tasks.core.stage import code_hash, publish
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace


@dataclass(frozen=True)
class UnchangedRun:
    """The last run of a dataset, which a new run would repeat.

    Args:
        row: The last run's row of the runs table.
        stages: The last run's stage records.
        since: ISO date of the first run with the same evaluation.
        remark: What the verdict of the last run added on a model that is not proven better than none.
    """

    row: dict[str, Any]
    stages: dict[str, dict[str, Any]]
    since: str
    remark: str = ""

    @property
    def verdict(self) -> str:
        """The verdict of a run that repeats this one."""
        champion = (
            f"champion {self.row['champion']} stays" if self.row["champion"] else "there is no champion"
        )
        unchanged = f"data, parameters and code unchanged since {self.since}"
        return "; ".join(filter(None, [champion, self.remark, unchanged]))

    @property
    def accuracy(self) -> str:
        """The test accuracy, as that run's own summary has it; empty in a row of an older Plumbline."""
        names = ("test_accuracy", "test_accuracy_low", "test_accuracy_high", "test_images")
        if any(self.row.get(name) is None for name in names):
            return ""
        value, low, high, images = (self.row[name] for name in names)
        interval = f"95 % interval {shares.interval(low, high)}"
        return f"{shares.percent(value)} ({interval}) of {shares.counted(images, 'test image')}"

    def is_of(self, raw: RawDataset) -> bool:
        """Whether the last run had the same files and labels."""
        return bool(self.stages.get("download", {}).get("digest") == raw.digest)


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
    last = find_same_run(raw.dataset, parameters, workspace)
    return last if last is not None and last.is_of(raw) else None


def find_same_run(dataset: str, parameters: Mapping[str, Any], workspace: Workspace) -> UnchangedRun | None:
    """Do as `find_unchanged_run` without a look at the source; `UnchangedRun.is_of` looks at it.

    Args:
        dataset: The name under which the dataset's runs are filed.
        parameters: The parameters of the new run; JSON values.
        workspace: The workspace with the runs, outputs and models.
    """
    runs = tables.read_rows("runs", workspace, dataset)
    if not runs.num_rows:
        return None
    (last,) = runs.slice(order.last(runs["started"].to_pylist()), 1).to_pylist()
    stages = json.loads(last["stages"])
    champion = registry.aliases(dataset, workspace).get(registry.CHAMPION, "")
    unchanged = (
        output_parameters(json.loads(last["parameters"])) == output_parameters(parameters)
        and champion == (last["champion"] or "")
        and not registry.champion_problem(dataset, workspace, thorough=False)
        and (last["source"], json.loads(last["packages"]))
        == (code_hash.source_digest(), provenance.packages())
        and all(explain.outputs_complete(name, entry["digest"], workspace) for name, entry in stages.items())
    )
    if not unchanged:
        return None
    same_evaluation = runs.filter(pc.equal(runs["evaluation"], last["evaluation"]))
    since = pc.min(same_evaluation["started"]).as_py()
    return UnchangedRun(last, stages, f"{since:%Y-%m-%d}", _remark(last, stages, workspace))


def _remark(last: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]], workspace: Workspace) -> str:
    """See `baseline.remark`, of the last run's model; it is named if it is not the champion."""
    digest = stages.get("evaluate", {}).get("digest")
    if not digest:
        return ""
    directory = explain.folder_of("evaluate", digest, workspace)
    publish.ensure_local(directory)
    remark = baseline.remark(json.loads((directory / scores.METRICS).read_bytes())["test"])
    is_champion = last["version"] == last["champion"]
    return remark if not remark or is_champion else f"{last['version']}: {remark}"


def append(run: RunRecord, raw: RawDataset, last: UnchangedRun, flow_run_id: str | None) -> None:
    """Write the row of a run in which nothing has changed: that of the last run with what is new.

    Args:
        run: The run.
        raw: Its dataset.
        last: The last run.
        flow_run_id: Prefect's id of the flow run; None if no server knows of it.
    """
    new = run.columns(flow_run_id) | {"verdict": last.verdict, "promoted": False}
    row = {name: value for name, value in last.row.items() if name != "dataset"} | new
    values = {name: json.dumps(value) if isinstance(value, Mapping) else value for name, value in row.items()}
    content = pa.Table.from_pylist([values], schema=schemas.SCHEMAS["runs"])
    tables.append_rows("runs", raw.dataset, run.run_id, content, run.workspace)


def output_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that decide the outcome of a run."""
    return {name: value for name, value in parameters.items() if name not in NON_OUTPUT_PARAMETERS}
