"""Rows of a run that was killed before or while it wrote them: the next run of the same model writes them.

The tables of a run are written one after the other, `runs` last. Until then a small file names the run that
has begun. A run after a kill completes its parts, under the same run id, instead of writing each row twice.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tasks.core.errors import PlumblineError
from tasks.core.runs import tables
from tasks.core.stage.handles import Decision
from tasks.core.storage import atomic
from tasks.core.workspace import Workspace

FOLDER = ".unfinished"  # readers of parquet folders leave out names that begin with a dot


@contextmanager
def completing(evaluation: str, run_id: str, workspace: Workspace) -> Iterator[str]:
    """Yield the run id for the parts of an evaluation: that of a killed run that began them, or this run's.

    Args:
        evaluation: Digest of the evaluation, with the version if it is one of `plumbline evaluate`.
        run_id: The id of this run.
        workspace: The workspace with the metrics tables.
    """
    begun = workspace.metrics / "runs" / FOLDER / evaluation
    writer = _read(begun) or run_id
    atomic.write_bytes(begun, writer.encode())
    try:
        yield writer
    except PlumblineError:  # parts that do not suit this run are not tried again
        begun.unlink(missing_ok=True)
        raise
    begun.unlink(missing_ok=True)


def resumed_decision(decision: Decision, dataset: str, workspace: Workspace) -> Decision:
    """The decision as a run records it whose model a killed run has promoted, before it wrote its own row.

    Args:
        decision: This run's decision: its model is the champion already.
        dataset: The name of the dataset.
        workspace: The workspace with the metrics tables.
    """
    evidence = decision.evidence
    if decision.promoted or decision.version != decision.champion or not evidence.get("promoted"):
        return decision
    runs = tables.read("runs", workspace, dataset, ["version", "promoted"])
    if (runs["version"].eq(decision.version) & runs["promoted"].eq(True)).any():
        return decision
    return replace(decision, promoted=True, verdict=evidence["verdict"])


def _read(path: Path) -> str:
    """The run id in the file; empty if there is none that can be a file name."""
    text = path.read_bytes().decode(errors="replace") if path.exists() else ""
    return text if text.replace("-", "").isalnum() else ""
