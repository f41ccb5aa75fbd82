"""The report in short, for places such as a dashboard: markdown and a table of classes."""

import json
from typing import Any

from tasks.core.handles import Report

SUMMARY = "summary.md"
CLASSES = "classes.json"


def summary(report: Report) -> str:
    """Markdown: the verdict, the metrics, the most frequent mistakes, the confusion matrix as a picture."""
    return (report.directory / SUMMARY).read_text(encoding="utf-8")


def classes(report: Report) -> list[dict[str, Any]]:
    """One row a class of the test images, the lowest recall first, as people read them."""
    return list(json.loads((report.directory / CLASSES).read_bytes()))
