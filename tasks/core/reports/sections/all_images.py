"""What a report says of the size of the test set, of the scores over all images and of the model of them."""

from typing import Any

import pandas as pd

from tasks.core.evaluation import test_size
from tasks.core.metrics.comparison import detectable
from tasks.core.model.selection.leaderboard import read_leaderboard
from tasks.core.registry import final_models
from tasks.core.reports.inputs import ReportInputs
from tasks.core.workspace import Workspace


def test_size_text(inputs: ReportInputs) -> dict[str, str]:
    """How much the test images can tell, and what that follows from."""
    found = test_size.read(inputs.evaluation, inputs.decision.evidence)
    basis = detectable.basis(found)
    return {
        "sentence": f"The test set has {detectable.sentence(found)}",
        "basis": f"McNemar’s exact test at 5 %, for {basis}.",
    }


def all_images(inputs: ReportInputs) -> dict[str, Any] | None:
    """The scores over all images, the leaderboard and the model of all images; None without them."""
    validated, final = inputs.cross_validation, inputs.final_model
    if validated is None:
        return None
    table = read_leaderboard(validated)
    plain: pd.DataFrame = table.astype(object).where(table.notna(), None)
    return {
        "score": {"value": validated.accuracy, "low": validated.low, "high": validated.high},
        "images": validated.images,
        "groups": validated.groups,
        "folds": validated.folds,
        "recipe": validated.recipe,
        "notes": validated.notes,
        "rows": plain.to_dict("records"),
        "final": final,
        "file": file_of(inputs),
    }


def file_of(inputs: ReportInputs) -> str:
    """The file of the model of all images, relative to the workspace; empty without one."""
    final, workspace = inputs.final_model, Workspace.active()
    if final is None:
        return ""
    path = final_models.file_of(final, inputs.tensors.dataset, inputs.decision.version, workspace)
    return workspace.relative(path)
