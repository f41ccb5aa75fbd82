"""What the dashboard shows of a run: its artifacts, the champions' history, an event for a promotion."""

import re
from collections.abc import Mapping
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from tasks.core.data.inference.prediction_table import Batch
from tasks.core.metrics.drift import Drift
from tasks.core.registry import registry
from tasks.core.reports import drift_report
from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.report import read_classes, read_summary
from tasks.core.runs import explain
from tasks.core.stage.handles import Report
from tasks.core.workspace import Workspace

PROMOTED = "plumbline.model.promoted"
DRIFTED = "plumbline.drift.detected"


Stages = Mapping[str, Mapping[str, Any]]  # of a run, as `Run.stages` gives them


def publish_run(stages: Stages, inputs: ReportInputs, report: Report, workspace: Workspace) -> None:
    """Show the report in short, why each stage ran, and who was champion when."""
    dataset = inputs.tensors.dataset
    create_markdown_artifact(read_summary(report), key="summary", description=f"{dataset} in short")
    create_table_artifact(read_classes(report), key="classes", description="test images by class")
    create_link_artifact((report.directory / "report.html").as_uri(), "report.html", key="report")
    publish_stages(stages)
    publish_champions(dataset, workspace)
    if inputs.decision.promoted:
        _emit_promoted(dataset, inputs)


def publish_unchanged(stages: Stages, dataset: str, verdict: str, workspace: Workspace) -> None:
    """Show the same for a run in which nothing had changed."""
    create_markdown_artifact(
        f"## {dataset}\n\n**{verdict}**", key="summary", description=f"{dataset} in short"
    )
    publish_stages(stages)
    publish_champions(dataset, workspace)


def publish_stages(stages: Stages) -> None:
    """Show which stages ran, and why."""
    rows: list[dict[str, Any]] = [*explain.stage_rows(stages)]
    create_table_artifact(rows, key="explain", description="which stages ran, and why")


def publish_champions(dataset: str, workspace: Workspace) -> None:
    """Show the champions of a dataset, the latest first; one key per dataset, so that a page has its history."""
    changes = reversed(registry.history(dataset, workspace))
    rows = [
        {name: change.get(name, "") for name in ("when", "version", "before", "action", "why", "who")}
        for change in changes
        if change["action"] in ("promote", "rollback")
    ]
    if rows:
        key = f"champions-{_artifact_key(dataset)}"
        create_table_artifact(rows, key=key, description=f"champions of {dataset}")


def publish_predictions(batch: Batch, tally: Mapping[str, Any], drift: Drift) -> None:
    """What came out of a batch: counts by class, the comparison with the model's profile, an event for drift.

    The event comes before the batch is closed: a run that is killed in between sends it again.
    """
    rows = [{"class": name, "images": count} for name, count in tally["classes"].items()]
    create_table_artifact(rows, key="predicted", description=f"{tally['images']:,} images by predicted class")
    dataset = batch.request.dataset
    create_markdown_artifact(
        drift_report.summary(batch, drift), key=f"drift-{_artifact_key(dataset)}", description=str(drift)
    )
    if drift.drifted:
        _emit_drifted(batch, drift)


def _emit_drifted(batch: Batch, drift: Drift) -> None:
    """For automations, as a promotion's event is."""
    dataset, version = batch.request.dataset, batch.request.version
    emit_event(
        DRIFTED,
        resource={
            "prefect.resource.id": f"plumbline.model.{dataset}",
            "prefect.resource.name": f"{dataset} {version}",
        },
        payload={
            "dataset": dataset,
            "version": version,
            "batch": batch.name,
            "report": str(batch.directory / drift_report.PAGE),
            **drift.record(),
        },
    )


def _emit_promoted(dataset: str, inputs: ReportInputs) -> None:
    """For automations; see the trigger in deployments/prefect.yaml."""
    emit_event(
        PROMOTED,
        resource={
            "prefect.resource.id": f"plumbline.model.{dataset}",
            "prefect.resource.name": f"{dataset} {inputs.decision.version}",
        },
        payload={
            "dataset": dataset,
            "version": inputs.decision.version,
            "accuracy": inputs.evaluation.accuracy,
            "verdict": inputs.decision.verdict,
        },
    )


def _artifact_key(dataset: str) -> str:
    """Prefect takes lower-case letters, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
