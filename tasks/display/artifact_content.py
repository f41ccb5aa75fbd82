"""What the artifacts of a run in the dashboard contain. Nothing here imports Prefect."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.core.markup import markdown
from tasks.core.registry import registry
from tasks.core.runs import explain
from tasks.core.workspace import Workspace

Stages = Mapping[str, Mapping[str, Any]]  # records of a run's stages, as `RunRecord.stages` returns them

SERVE_URL = "PLUMBLINE_SERVE_URL"  # the address at which `plumbline serve` shows this workspace to people


@dataclass(frozen=True)
class Artifact:
    """An artifact.

    Args:
        key: Its key: lower-case letters, digits and dashes.
        data: Markdown, or the rows of a table.
        description: What it shows.
    """

    key: str
    data: str | list[dict[str, Any]]
    description: str

    def record(self) -> dict[str, Any]:
        """The artifact as Prefect's API takes it."""
        is_text = isinstance(self.data, str)
        return {
            "key": self.key,
            "type": "markdown" if is_text else "table",
            "data": self.data if is_text else json.dumps(self.data),
            "description": self.description,
        }


def of_unchanged_run(
    stages: Stages, dataset: str, verdict: str, workspace: Workspace, report: Path
) -> list[Artifact]:
    """The verdict, the stages and the history of champions, of a run in which nothing changed.

    Args:
        stages: The run's stages.
        dataset: Its dataset.
        verdict: What it says of the champion.
        workspace: Where it ran.
        report: The page of the last report.
    """
    text = f"## {markdown(dataset)}\n\n**{markdown(verdict)}**\n\n{where(report)}"
    described = f"{markdown(dataset)}: nothing changed since the last run"
    found = [Artifact(key("summary", dataset), text, described), of_stages(stages, dataset)]
    champions = of_champions(dataset, workspace)
    return [*found, champions] if champions else found


def of_summary(dataset: str, version: str, summary: str, report: Path) -> Artifact:
    """The first screen of a report, and where the whole of it is.

    Args:
        dataset: The dataset.
        version: The version that the report is about.
        summary: Markdown, with its picture in it.
        report: The page.
    """
    parts = [where(report), summary] if report_address(report) else [summary, where(report)]
    return Artifact(
        key("summary", dataset),
        "\n\n".join(parts),
        f"{markdown(dataset)} {version}: verdict, figures, mistakes",
    )


def of_classes(dataset: str, version: str, rows: list[dict[str, Any]]) -> Artifact:
    """The figures of each class."""
    described = f"{markdown(dataset)} {version}: the test images by class, lowest recall first"
    return Artifact(key("classes", dataset), rows, described)


def of_stages(stages: Stages, dataset: str) -> Artifact:
    """Which stages ran, and why."""
    described = f"{markdown(dataset)}: which stages ran, and why"
    return Artifact(key("explain", dataset), [*explain.stage_rows(stages)], described)


def of_champions(dataset: str, workspace: Workspace) -> Artifact | None:
    """The champions of a dataset, the latest first; None if there was none."""
    changes = reversed(registry.history(dataset, workspace))
    rows = [
        {name: change.get(name, "") for name in ("when", "version", "before", "action", "why", "who")}
        for change in changes
        if change["action"] in ("promote", "rollback")
    ]
    described = f"{markdown(dataset)}: its champions, the latest first"
    return Artifact(key("champions", dataset), rows, described) if rows else None


def where(page: Path) -> str:
    """Where the whole report is, as markdown: a link to `plumbline serve`, or else the path of the file.

    Args:
        page: `report.html` in the folder of a report.
    """
    if address := report_address(page):
        return f"[The whole report]({address})"
    return (
        f"The whole report is a file on the machine of this run: `{page.as_uri()}`. A browser follows no link"
        f" to it from here; with `{SERVE_URL}`, the http address of `plumbline serve`, there is one."
    )


def report_address(page: Path) -> str:
    """The address of a report at `plumbline serve`; empty if that has none that is known here."""
    served = os.environ.get(SERVE_URL, "").rstrip("/")
    is_address = served.startswith(("http://", "https://"))
    return f"{served}/workspace/reports/{page.parent.name}/{page.name}" if is_address else ""


def key(what: str, dataset: str) -> str:
    """The key of a dataset's artifact, so that the history of the artifact is one dataset's.

    Prefect takes lower-case letters, digits and dashes. A name that has other characters gets six digits of
    its SHA-256, since two such names may look the same.

    >>> key("summary", "cifar10"), key("summary", "My photos")
    ('summary-cifar10', 'summary-my-photos-4a07b3')
    """
    plain = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    digits = "" if plain == dataset else hashlib.sha256(dataset.encode()).hexdigest()[:6]
    return "-".join(part for part in (what, plain, digits) if part)
