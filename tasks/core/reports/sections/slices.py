"""What a report says of the slices of the test images."""

from typing import Any

import pandas as pd

from tasks.core.evaluation.slices import slice_table
from tasks.core.reports.inputs import ReportInputs

SHOWN = 40  # slices; the table `slices` has all
MOST_CLASSES = 12  # of more classes, the recalls are only in the table


def section(inputs: ReportInputs) -> dict[str, Any] | None:
    """The values for `slices.html.j2`, by name; None where the data have no slices."""
    table = slice_table.read_slices(inputs.evaluation)
    if not len(table):
        return None
    whole = slice_table.of_all_classes(table)
    rows = [row | {"recalls": _recalls(table, row)} for row in _plain(whole.head(SHOWN))]
    lost = inputs.decision.evidence.get("slices", [])
    return {
        "sentence": slice_table.sentence(table),
        "found": len(slice_table.worse(table)) > 0,
        "level": slice_table.LEVEL,
        "least": slice_table.LEAST,
        "rows": rows,
        "count": len(whole),
        "grouped": bool(whole["groups"].notna().any()),
        "changes": {(row["column"], row["value"]): row for row in lost},
        "columns": ", ".join(dict.fromkeys(row["column"] for row in lost)),
        "budget": inputs.decision.evidence.get("budget", {}).get("class_loss"),
    }


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None for what is not known."""
    plain: pd.DataFrame = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def _recalls(table: pd.DataFrame, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The recall of each class in a slice, lowest first; none of too many classes."""
    same = (table["attribute"] == row["attribute"]) & (table["value"] == row["value"])
    classes = table[same & table["class_name"].notna()].sort_values("accuracy", kind="stable")
    return _plain(classes) if len(classes) <= MOST_CLASSES else []
