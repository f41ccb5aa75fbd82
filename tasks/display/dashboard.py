"""What the dashboard shows of a run: artifacts, the history of champions, events for promotion and drift."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from tasks.core import shares
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.markup import markdown
from tasks.core.metrics.drift import Drift
from tasks.core.reports import drift_report
from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.report import PAGE, read_classes, read_summary
from tasks.core.stage.handles import Report
from tasks.core.workspace import Workspace
from tasks.display import artifact_content
from tasks.display.artifact_content import Artifact, Stages
from tasks.display.server_link import tell

PROMOTED = "plumbline.model.promoted"
DRIFTED = "plumbline.drift.detected"


def publish_run(stages: Stages, inputs: ReportInputs, report: Report, workspace: Workspace) -> None:
    """Show the report's first screen, why each stage ran, and the history of champions."""
    dataset, version = inputs.tensors.dataset, inputs.decision.version
    page = report.directory / PAGE
    _publish(artifact_content.of_summary(dataset, version, read_summary(report), page))
    _publish(artifact_content.of_classes(dataset, version, read_classes(report)))
    if address := artifact_content.report_address(page):
        described = f"{markdown(dataset)} {version}: the report, at `plumbline serve`"
        key = artifact_content.key("report", dataset)
        tell(create_link_artifact, address, "the report", key=key, description=described)
    publish_stages(stages, dataset)
    publish_champions(dataset, workspace)
    if inputs.decision.promoted:
        _emit_promoted(dataset, inputs)


def publish_unchanged(stages: Stages, dataset: str, verdict: str, workspace: Workspace, report: Path) -> None:
    """Show the verdict, the stages and the history of champions for a run in which nothing changed."""
    for artifact in artifact_content.of_unchanged_run(stages, dataset, verdict, workspace, report):
        _publish(artifact)


def publish_evaluation(title: str, dataset: str, summary: Mapping[str, str]) -> None:
    """Show what an evaluation of a published version gave.

    Args:
        title: The version and the images.
        dataset: The version's dataset.
        summary: The results in words, by name.
    """
    lines = "\n".join(f"- **{name}**: {text}" for name, text in summary.items())
    key = artifact_content.key("evaluation", dataset)
    _publish(Artifact(key, f"## {markdown(title)}\n\n{lines}", f"evaluation of {markdown(title)}"))


def publish_sweep(dataset: str, trials: Sequence[Mapping[str, Any]], summary: str) -> None:
    """Show the trials of a sweep.

    Args:
        dataset: Its dataset.
        trials: A row for each trial.
        summary: Markdown, with the plot in it.
    """
    name = markdown(dataset)
    rows = [dict(row) for row in trials]
    _publish(Artifact(artifact_content.key("trials", dataset), rows, f"{name}: the trials of the sweep"))
    _publish(Artifact(artifact_content.key("sweep", dataset), summary, f"{name}: summary of the sweep"))


def publish_stages(stages: Stages, dataset: str) -> None:
    """Show which stages ran, and why."""
    _publish(artifact_content.of_stages(stages, dataset))


def publish_champions(dataset: str, workspace: Workspace) -> None:
    """Show the champions of a dataset, the latest first."""
    if artifact := artifact_content.of_champions(dataset, workspace):
        _publish(artifact)


def _publish(artifact: Artifact) -> None:
    create = create_markdown_artifact if isinstance(artifact.data, str) else create_table_artifact
    tell(create, artifact.data, key=artifact.key, description=artifact.description)  # type: ignore[arg-type]


def publish_predictions(batch: Batch, counts: Mapping[str, Any], drift: Drift) -> None:
    """Show the counts by class of a batch and its comparison with the profile; send an event on drift.

    The event is sent before the batch is marked as finished, so after a kill in between it is sent again.

    Args:
        batch: The batch, with all its parts written.
        counts: As `Batch.counts` returns them.
        drift: The comparison.
    """
    rows = [{"class": name, "images": count} for name, count in counts["classes"].items()]
    dataset = batch.request.dataset
    images = shares.counted(counts["images"], "image")
    described = f"{markdown(dataset)} {batch.request.version}: {images} by predicted class"
    _publish(Artifact(artifact_content.key("predicted", dataset), rows, described))
    summary = drift_report.summary(batch, drift)
    _publish(Artifact(artifact_content.key("drift", dataset), summary, markdown(str(drift))))
    if drift.drifted:
        _emit_drifted(batch, drift)


def _emit_drifted(batch: Batch, drift: Drift) -> None:
    """Send an event that automations can react to."""
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
    """Send an event that automations can react to; see the trigger in deployments/prefect.yaml."""
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
