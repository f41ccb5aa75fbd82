"""Predictions as JSON: one object per image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

COLUMNS = ("path", "row", "predicted_class_name", "probability", "probabilities", "abstained", "problem")


def json_rows(out: Path, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a table of predictions, with the probabilities by class name.

    Args:
        out: The folder of the table.
        classes: Names of the model's classes, in the order of its probabilities.
    """
    rows = []
    for part in sorted(out.glob("batch=*/part-*.parquet")):
        with pq.ParquetFile(part) as file:  # not read_table, which would take batch=... for a column
            rows += file.read(columns=list(COLUMNS)).to_pylist()
    return [_by_class(row, classes) for row in rows]


def _by_class(row: dict[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    probabilities = row["probabilities"]
    named = None if probabilities is None else dict(zip(classes, probabilities, strict=True))
    return {name: row[name] for name in COLUMNS if name != "row" or row["row"] is not None} | {
        "probabilities": named
    }
