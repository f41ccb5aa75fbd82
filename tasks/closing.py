"""What a run leaves behind: a row in the runs table, artifacts in the dashboard, a summary in the console."""

import resource
import time
from datetime import UTC, datetime
from typing import Any

from prefect import runtime
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.console import log
from tasks.core.handles import Report
from tasks.core.results import evaluation as evaluations
from tasks.core.results import record, showing
from tasks.core.results.subject import Subject
from tasks.journal import Journal, duration


def close(journal: Journal, subject: Subject, report: Report) -> dict[str, Any]:
    """Record the run, show it in the dashboard, print its summary.

    Returns:
        The summary; JSON values.
    """
    row = _row(journal, subject, report)
    record.record(row, subject.tensors, subject.trained, subject.evaluation, journal.workspace)
    _show(report, subject.tensors.dataset)
    return _summarize(journal, subject, report)


def _row(journal: Journal, subject: Subject, report: Report) -> dict[str, Any]:
    facts, decision = journal.facts(), subject.decision
    return {
        "run_id": journal.run_id,
        "started": journal.started,
        "recipe": subject.trained.recipe,
        "parameters": journal.parameters,
        "seed": journal.parameters["seed"],
        "version": decision.version,
        "champion": decision.champion,
        "promoted": decision.promoted,
        "verdict": decision.verdict,
        "report": f"{report.path}/report.html",
        "wall_seconds": (datetime.now(UTC) - journal.started).total_seconds(),
        "cpu_seconds": time.process_time(),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
        "stages": journal.stages(),
        "flow_run_id": runtime.flow_run.id,
        "git_commit": facts["git_commit"] or None,
        "packages": facts["packages"],
        "device": facts["machine"],
    }


def _show(report: Report, dataset: str) -> None:
    """The report in short, in the run's Artifacts tab."""
    create_markdown_artifact(showing.summary(report), key="summary", description=f"{dataset} in short")
    create_table_artifact(showing.classes(report), key="classes", description="test images by class")
    create_link_artifact((report.directory / "report.html").as_uri(), "report.html", key="report")


def _summarize(journal: Journal, subject: Subject, report: Report) -> dict[str, Any]:
    evaluation, decision = subject.evaluation, subject.decision
    model = journal.workspace.models / subject.tensors.dataset / decision.version / "model.keras"
    reused = [name for name, entry in journal.entries.items() if entry.state != "ran"]
    saved = sum(journal.entries[name].cost.get("wall_seconds", 0) for name in reused)
    summary = {
        "accuracy": f"{evaluations.accuracy_in_words(evaluation)} of {evaluation.images:,} test images",
        "verdict": f"{decision.version}: {decision.verdict}",
        "model": str(model),
        "report": str(report.directory / "report.html"),
        "reused": f"{', '.join(reused)} (saved {duration(saved)})" if reused else "nothing: every stage ran",
    }
    log.info("")
    for name, text in summary.items():
        log.info("%-10s %s", name, text)
    return summary
