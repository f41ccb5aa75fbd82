"""What a run leaves behind: a row in the runs table, its story in the dashboard, a summary in the console."""

import resource
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed

from tasks.core.errors import OverfitCheckError
from tasks.core.evaluation import evaluate
from tasks.core.model.training.overfit_check import MAX_LOSS_SHARE, OverfitResult
from tasks.core.operations.run_lock import DatasetBusy
from tasks.core.progress import duration
from tasks.core.reports.inputs import ReportInputs
from tasks.core.runs import record
from tasks.core.runs.unchanged import UnchangedRun
from tasks.core.stage import publish
from tasks.core.stage.handles import RawDataset, Report
from tasks.display import dashboard
from tasks.display.console import log
from tasks.orchestration.run import Run


def finish(journal: Run, subject: ReportInputs, report: Report) -> dict[str, Any]:
    """Record the run, show it in the dashboard, print its summary.

    Returns:
        The summary; JSON values.
    """
    row = _row(journal, subject, report)
    record.append_run(row, subject.tensors, subject.trained, subject.evaluation, journal.workspace)
    dashboard.publish_run(journal, subject, report)
    return _summarize(journal, subject, report)


def finish_unchanged(journal: Run, raw: RawDataset, standing: UnchangedRun) -> dict[str, Any]:
    """Close a run in which nothing had changed: a row like the last one's, and a word to whom it concerns."""
    journal.stand(standing.stages)
    row = _run_columns(journal) | {"verdict": standing.words, "promoted": False}
    record.append_unchanged_run(standing.row, row, raw.dataset, journal.workspace)
    dashboard.publish_unchanged(journal, raw.dataset, standing.words)
    report = journal.workspace.root / str(standing.row["report"])
    publish.ensure_local(report.parent)
    summary = {"verdict": standing.words, "report": str(report), "reused": _reused(journal)}
    _log_summary(summary)
    return summary


def finish_overfit_check(found: OverfitResult) -> dict[str, Any]:
    """End a check of one batch, which leaves no row, no model and no report behind.

    Raises:
        SanityError: The batch was not learned by heart.
    """
    if not found.passed:
        raise OverfitCheckError(
            "the recipe did not learn one batch by heart",
            expected=f"all of {found.images} images right and a loss below {MAX_LOSS_SHARE:g} of guessing's",
            found=str(found),
            done="nothing was trained beyond the batch, nothing was published",
            todo="mend the data or the settings, and check again with --overfit-batch",
        )
    return asdict(found)


def skipped(busy: DatasetBusy) -> State[None]:
    """End a run that another one left no room for; not a failure."""
    log.info("%s; this run was dropped", busy)
    return Completed(name="Skipped", message=str(busy))


def cancelled() -> State[None]:
    """End a run that its person stopped by Ctrl-C: what is finished stays, and a training's checkpoint."""
    log.info("stopped; the next run goes on from what is finished")
    return Cancelled(message="Stopped by Ctrl-C; the next run goes on from what is finished.")


def _row(journal: Run, subject: ReportInputs, report: Report) -> dict[str, Any]:
    facts, decision = journal.facts(), subject.decision
    return _run_columns(journal) | {
        "recipe": subject.trained.recipe,
        "parameters": journal.parameters,
        "seed": journal.parameters["seed"],
        "sweep": journal.sweep or None,
        "version": decision.version,
        "champion": decision.champion,
        "promoted": decision.promoted,
        "verdict": decision.verdict,
        "report": f"{report.path}/report.html",
        "source": facts["source"],
        "git_commit": facts["git_commit"] or None,
        "packages": facts["packages"],
        "device": facts["machine"],
    }


def _run_columns(journal: Run) -> dict[str, Any]:
    return {
        "run_id": journal.run_id,
        "started": journal.started,
        "wall_seconds": (datetime.now(UTC) - journal.started).total_seconds(),
        "cpu_seconds": time.process_time(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "stages": journal.stages(),
        "flow_run_id": runtime.flow_run.id,
    }


def _summarize(journal: Run, subject: ReportInputs, report: Report) -> dict[str, Any]:
    evaluation, decision = subject.evaluation, subject.decision
    model = journal.workspace.models / subject.tensors.dataset / decision.version / "model.keras"
    summary = {
        "accuracy": f"{evaluate.accuracy_of(evaluation)} of {evaluation.images:,} test images",
        "verdict": f"{decision.version}: {decision.verdict}",
        "model": str(model),
        "report": str(report.directory / "report.html"),
        "reused": _reused(journal),
    }
    if subject.exported is not None:
        summary["exports"] = f"{subject.exported}, in {subject.exported.directory}"
    _log_summary(summary)
    return summary


def _reused(journal: Run) -> str:
    reused = [name for name, entry in journal.entries.items() if entry.state != "ran"]
    saved = sum(journal.entries[name].cost.get("wall_seconds") or 0 for name in reused)
    return f"{', '.join(reused)} (saved {duration(saved)})" if reused else "nothing: every stage ran"


def _log_summary(summary: Mapping[str, str]) -> None:
    log.info("")
    for name, text in summary.items():
        log.info("%-10s %s", name, text)
