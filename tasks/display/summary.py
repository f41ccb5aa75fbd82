"""The summary at the end of a run."""

import logging
from collections.abc import Mapping, Sequence

from tasks.core.runs.run_record import RunRecord
from tasks.core.runs.unchanged import UnchangedRun
from tasks.core.stage import publish
from tasks.display.console import log


def unchanged_summary(run: RunRecord, last: UnchangedRun) -> dict[str, str]:
    """Print and return the summary of a run in which nothing changed.

    Args:
        run: This run.
        last: The last run, which had the same data, parameters and code.
    """
    report = run.workspace.root / str(last.row["report"])
    publish.ensure_local(report.parent)
    model = run.workspace.models / str(last.row["dataset"]) / str(last.row["version"]) / "model.keras"
    summary = {
        **({"accuracy": last.accuracy} if last.accuracy else {}),
        "verdict": last.verdict,
        **({"model": str(model)} if model.exists() else {}),
        "report": str(report),
        "reused": run.reused(),
    }
    log_summary(summary, ("accuracy", "verdict") if last.remark else ())
    return summary


def log_summary(summary: Mapping[str, str], warnings: Sequence[str] = ()) -> None:
    """Print a summary; the named lines as warnings."""
    log.info("")
    for name, text in summary.items():
        log.log(logging.WARNING if name in warnings else logging.INFO, "%-13s %s", name, text)
