"""The report of a run: one HTML file that needs no network, the verdict first."""

import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.render import TEMPLATES, render, template_digests
from tasks.core.stage.handles import Report
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import REPORT
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.results")

PARTS = ("report.html.j2", "report.css")
PAGE = "report.html"
SUMMARY = "summary.md"
CLASSES = "classes.json"


def ingredients(inputs: ReportInputs, templates: Path = TEMPLATES) -> Ingredients:
    """What decides the page: not the run's id nor its times, so that a run with nothing new finds it.

    Args:
        templates: Folder of the templates.
    """
    return REPORT.ingredients(
        inputs={stage.role: handle.digest for stage, handle in inputs.handles()}
        | template_digests(*PARTS, folder=templates),
        parameters={
            **{name: str(value) for name, value in inputs.parameters.items()},
            "version": inputs.decision.version,
            "evidence": hashing.digest_of(inputs.decision.evidence),
            "looks": inputs.test_set_uses,
        },
    )


def write_report(inputs: ReportInputs, workspace: Workspace, *, refresh: bool = False) -> Report:
    """Write `report.html`, and what `showing` reads."""
    return REPORT.output(
        ingredients(inputs), workspace, lambda staging: _write(staging, inputs), refresh=refresh
    )


def _write(staging: Path, inputs: ReportInputs) -> dict[str, Any]:
    from tasks.core.reports import (
        content,  # matplotlib takes half a second that a reused report does not need
    )

    shown = content.content(inputs)
    (staging / PAGE).write_text(_html(shown), encoding="utf-8")
    (staging / SUMMARY).write_text(content.summary(shown), encoding="utf-8")
    (staging / CLASSES).write_text(json.dumps(content.class_table(shown)), encoding="utf-8")
    return {"dataset": inputs.tensors.dataset, "version": inputs.decision.version}


def _html(shown: Mapping[str, Any]) -> str:
    from tasks.core.reports import content

    filters: dict[str, Callable[..., str]] = {
        "percent": content.percent,
        "points": content.points,
        "figure": content.figure,
        "interval": content.interval,
    }
    return render(PAGE + ".j2", shown, filters)


def read_summary(report: Report) -> str:
    """Markdown: the verdict, the metrics, the most frequent mistakes, the confusion matrix as a picture."""
    return (report.directory / SUMMARY).read_text(encoding="utf-8")


def read_classes(report: Report) -> list[dict[str, Any]]:
    """One row a class of the test images, the lowest recall first, as people read them."""
    return list(json.loads((report.directory / CLASSES).read_bytes()))
