"""What a report says of the choice of a recipe: the candidates, and accuracy by cross-validation."""

from typing import Any

import numpy as np
import pandas as pd

from tasks.core.metrics import intervals
from tasks.core.model.selection.candidate_table import read_candidates
from tasks.core.reports.inputs import ReportInputs


def cross_validated(inputs: ReportInputs) -> dict[str, Any] | None:
    """Accuracy on the train images by folds that have not seen them; None if the training has none."""
    counts = inputs.trained.manifest["facts"].get("cross_validated")
    if counts is None:
        return None
    low, high = intervals.wilson(np.array(counts["correct"]), np.array(counts["images"]))
    accuracy = counts["correct"] / counts["images"]
    return {"value": accuracy, "low": float(low), "high": float(high), "images": counts["images"]}


def candidates(inputs: ReportInputs) -> list[dict[str, Any]]:
    """The recipes that were compared or left out, in their order; empty if the recipe was given."""
    if inputs.selected is None:
        return []
    table = read_candidates(inputs.selected)
    plain: pd.DataFrame = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]
