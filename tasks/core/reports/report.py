"""The report stage: writes the report of a run as one HTML file that needs no network."""

import json
import logging
from pathlib import Path
from typing import Any

from tasks.core import process_memory
from tasks.core.reports.inputs import ReportInputs
from tasks.core.reports.render import TEMPLATES, render, template_digests
from tasks.core.review.page import PAGE as REVIEW_TEMPLATE
from tasks.core.stage.handles import Report
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import REPORT
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.results")

PARTS = (
    *("report.html.j2", "error_budget.html.j2", "class_reading.html.j2", "activation_maps.html.j2"),
    *("cross_validation.html.j2", "slices.html.j2", "baselines.html.j2", "key_findings.html.j2"),
    "data_pictures.html.j2",
    *("macros.html.j2", "report.css"),
)
PAGE = "report.html"
REVIEW = "review.html"
SUMMARY = "summary.md"
CLASSES = "classes.json"


def ingredients(inputs: ReportInputs, templates: Path = TEMPLATES) -> Ingredients:
    """What decides the report.

    The run's id and times are left out, so that an unchanged run reuses its report.

    Args:
        inputs: The outputs and facts of the run.
        templates: Directory of the templates.
    """
    return REPORT.ingredients(
        inputs={stage.role: handle.digest for stage, handle in inputs.handles()}
        | template_digests(*PARTS, folder=templates)
        | template_digests(REVIEW_TEMPLATE.name, folder=REVIEW_TEMPLATE.parent),
        parameters={
            **{name: str(value) for name, value in inputs.parameters.items()},
            "version": inputs.decision.version,
            "evidence": hashing.digest_of(inputs.decision.evidence),
            "looks": inputs.test_set_uses,
        },
    )


def write_report(inputs: ReportInputs, workspace: Workspace, *, refresh: bool = False) -> Report:
    """Write `report.html`, `review.html`, and the files that `read_summary` and `read_classes` read.

    Args:
        inputs: The outputs and facts of the run.
        workspace: Where the report is published.
        refresh: Whether to write an existing report again.
    """
    return REPORT.output(
        ingredients(inputs), workspace, lambda staging: _write(staging, inputs), refresh=refresh
    )


def _write(staging: Path, inputs: ReportInputs) -> dict[str, Any]:
    from tasks.core.reports import review

    (staging / REVIEW).write_text(review.review_page(inputs), encoding="utf-8")
    process_memory.give_back()  # 25 MB of the source's listing, before the figures
    # Imported here: matplotlib takes 0.5 s, and a reused report does not need it.
    from tasks.core.reports import content, summary

    values = content.content(inputs)
    page = render(PAGE + ".j2", values, content.FILTERS)
    (staging / PAGE).write_text(page, encoding="utf-8")
    (staging / SUMMARY).write_text(summary.summary(values), encoding="utf-8")
    (staging / CLASSES).write_text(json.dumps(summary.class_table(values)), encoding="utf-8")
    return {"dataset": inputs.tensors.dataset, "version": inputs.decision.version}


def read_summary(report: Report) -> str:
    """The summary of a report as markdown: verdict, metrics, most frequent mistakes, confusion matrix."""
    return (report.directory / SUMMARY).read_text(encoding="utf-8")


def read_classes(report: Report) -> list[dict[str, Any]]:
    """The per-class metrics of the test images as text, one row per class, lowest recall first."""
    return list(json.loads((report.directory / CLASSES).read_bytes()))
