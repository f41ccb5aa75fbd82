"""Finishes an evaluation: rows in the tables, artifacts in the dashboard, a summary in the console."""

from collections.abc import Iterable, Mapping
from typing import Any

from prefect import runtime

from tasks.core.operations import provenance
from tasks.core.reports import evaluation_report
from tasks.core.reports.evaluation_report import EvaluationInputs
from tasks.core.runs import evaluations
from tasks.core.stage.handles import RawDataset, Report
from tasks.display import dashboard
from tasks.display.console import log
from tasks.orchestration.run import Run


def finish(run: Run, raw: RawDataset, inputs: EvaluationInputs, report: Report) -> dict[str, Any]:
    """Record the evaluation, show it in the dashboard and print its summary.

    Returns:
        The summary: JSON values by name.
    """
    row = _row(run, raw, report)
    evaluations.append_evaluation(row, inputs.version, inputs.images, inputs.evaluation, run.workspace)
    summary = _summary(inputs, report)
    version = inputs.version
    dashboard.publish_evaluation(
        f"{version.dataset} {version.version} on {raw.dataset}", version.dataset, summary
    )
    dashboard.publish_stages(run.stages(), version.dataset)
    _print(summary, inputs.images.remarks())
    return summary | {
        "images": inputs.images.test,
        "left_out": inputs.images.source_images - inputs.images.test,
        "run_id": run.run_id,
    }


def _row(run: Run, raw: RawDataset, report: Report) -> dict[str, Any]:
    """Columns of the table `evaluations` that the run knows."""
    return {
        "run_id": run.run_id,
        "started": run.started,
        "data": str(run.parameters["data"]),
        "parameters": run.parameters,
        "raw": raw.digest,
        "report": f"{report.path}/{evaluation_report.PAGE}",
        "stages": run.stages(),
        "flow_run_id": runtime.flow_run.id,
        "git_commit": provenance.git_commit() or None,
    }


def _summary(inputs: EvaluationInputs, report: Report) -> dict[str, str]:
    version = inputs.version
    return {
        **evaluation_report.summary(inputs),
        "model": f"{version.dataset} {version.version}; the registry is as it was",
        "report": str(report.directory / evaluation_report.PAGE),
    }


def _print(summary: Mapping[str, str], remarks: Iterable[str]) -> None:
    log.info("")
    for remark in remarks:
        log.warning("%-13s %s", "images", remark)
    for name, text in summary.items():
        log.info("%-13s %s", name, text)
