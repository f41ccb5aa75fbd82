"""What the dashboard shows of a run: its artifacts, the champions' history, an event for a promotion."""

import re
from collections.abc import Mapping
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.events import emit_event

from tasks.core.data.batches import Batch
from tasks.core.handles import Report
from tasks.core.results import explanation, registry, showing, sighting
from tasks.core.results.drift import Drift
from tasks.core.results.subject import Subject
from tasks.journal import Journal

PROMOTED = "plumbline.model.promoted"
DRIFTED = "plumbline.drift.detected"


def show(journal: Journal, subject: Subject, report: Report) -> None:
    """The report in short, why each stage ran, and who was champion when."""
    dataset = subject.tensors.dataset
    create_markdown_artifact(showing.summary(report), key="summary", description=f"{dataset} in short")
    create_table_artifact(showing.classes(report), key="classes", description="test images by class")
    create_link_artifact((report.directory / "report.html").as_uri(), "report.html", key="report")
    explain(journal)
    champions(dataset, journal)
    if subject.decision.promoted:
        _promoted(dataset, subject)


def stands(journal: Journal, dataset: str, words: str) -> None:
    """The same for a run in which nothing had changed."""
    create_markdown_artifact(f"## {dataset}\n\n**{words}**", key="summary", description=f"{dataset} in short")
    explain(journal)
    champions(dataset, journal)


def explain(journal: Journal) -> None:
    rows: list[dict[str, Any]] = [*explanation.table(journal.stages())]
    create_table_artifact(rows, key="explain", description="which stages ran, and why")


def champions(dataset: str, journal: Journal) -> None:
    """Under one key a dataset, so that the artifact's page has the latest first."""
    changes = reversed(registry.history(dataset, journal.workspace))
    rows = [
        {name: change.get(name, "") for name in ("when", "version", "before", "action", "why", "who")}
        for change in changes
        if change["action"] in ("promote", "rollback")
    ]
    if rows:
        create_table_artifact(rows, key=f"champions-{_key(dataset)}", description=f"champions of {dataset}")


def predicted(batch: Batch, tally: Mapping[str, Any], drift: Drift) -> None:
    """What came out of a batch: counts by class, the comparison with the model's profile, an event for drift.

    The event comes before the batch is closed: a run that is killed in between sends it again.
    """
    rows = [{"class": name, "images": count} for name, count in tally["classes"].items()]
    create_table_artifact(rows, key="predicted", description=f"{tally['images']:,} images by predicted class")
    dataset = batch.asking.dataset
    create_markdown_artifact(
        sighting.summary(batch, drift), key=f"drift-{_key(dataset)}", description=str(drift)
    )
    if drift.drifted:
        _drifted(batch, drift)


def _drifted(batch: Batch, drift: Drift) -> None:
    """For automations, as a promotion's event is."""
    dataset, version = batch.asking.dataset, batch.asking.version
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
            "report": str(batch.directory / sighting.PAGE),
            **drift.record(),
        },
    )


def _promoted(dataset: str, subject: Subject) -> None:
    """For automations; see the trigger in deployments/prefect.yaml."""
    emit_event(
        PROMOTED,
        resource={
            "prefect.resource.id": f"plumbline.model.{dataset}",
            "prefect.resource.name": f"{dataset} {subject.decision.version}",
        },
        payload={
            "dataset": dataset,
            "version": subject.decision.version,
            "accuracy": subject.evaluation.accuracy,
            "verdict": subject.decision.verdict,
        },
    )


def _key(dataset: str) -> str:
    """Prefect takes lower-case letters, digits and dashes only."""
    return re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
