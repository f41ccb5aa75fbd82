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


def finish(run: Run, inputs: ReportInputs, report: Report) -> dict[str, Any]:
    """Record the run, show it in the dashboard, print its summary.

    Returns:
        The summary; JSON values.
    """
    row = _row(run, inputs, report)
    record.append_run(row, inputs.tensors, inputs.trained, inputs.evaluation, run.workspace)
    dashboard.publish_run(run.stages(), inputs, report, run.workspace)
    return _summarize(run, inputs, report)


def finish_unchanged(run: Run, raw: RawDataset, standing: UnchangedRun) -> dict[str, Any]:
    """Close a run in which nothing had changed: a row like the last one's, and a word to whom it concerns."""
    run.copy_from(standing.stages)
    row = _run_columns(run) | {"verdict": standing.words, "promoted": False}
    record.append_unchanged_run(standing.row, row, raw.dataset, run.workspace)
    dashboard.publish_unchanged(run.stages(), raw.dataset, standing.words, run.workspace)
    report = run.workspace.root / str(standing.row["report"])
    publish.ensure_local(report.parent)
    summary = {"verdict": standing.words, "report": str(report), "reused": _reused(run)}
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


def _row(run: Run, inputs: ReportInputs, report: Report) -> dict[str, Any]:
    facts, decision = run.facts(), inputs.decision
    return _run_columns(run) | {
        "recipe": inputs.trained.recipe,
        "parameters": run.parameters,
        "seed": run.parameters["seed"],
        "sweep": run.sweep or None,
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


def _run_columns(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "started": run.started,
        "wall_seconds": (datetime.now(UTC) - run.started).total_seconds(),
        "cpu_seconds": time.process_time(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "stages": run.stages(),
        "flow_run_id": runtime.flow_run.id,
    }


def _summarize(run: Run, inputs: ReportInputs, report: Report) -> dict[str, Any]:
    evaluation, decision = inputs.evaluation, inputs.decision
    model = run.workspace.models / inputs.tensors.dataset / decision.version / "model.keras"
    summary = {
        "accuracy": f"{evaluate.accuracy_of(evaluation)} of {evaluation.images:,} test images",
        "verdict": f"{decision.version}: {decision.verdict}",
        "model": str(model),
        "report": str(report.directory / "report.html"),
        "reused": _reused(run),
    }
    if inputs.exported is not None:
        summary["exports"] = f"{inputs.exported}, in {inputs.exported.directory}"
    _log_summary(summary)
    return summary


def _reused(run: Run) -> str:
    reused = [name for name, entry in run.records.items() if entry.state != "ran"]
    saved = sum(run.records[name].cost.get("wall_seconds") or 0 for name in reused)
    return f"{', '.join(reused)} (saved {duration(saved)})" if reused else "nothing: every stage ran"


def _log_summary(summary: Mapping[str, str]) -> None:
    log.info("")
    for name, text in summary.items():
        log.info("%-13s %s", name, text)
