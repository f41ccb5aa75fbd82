"""The label_issues stage: finds likely wrong labels by confident learning on out-of-sample probabilities.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, 2021. The confident joint (section 3.1) gives the number of likely wrong labels of each class ("prune
by class", section 3.2). The probability of the given label ranks them. The stage's directory has
`label_issues.parquet`, least likely label first, and `label_issues.csv`, the same rows as a form for
corrections.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.core import markup
from tasks.core.data.tensors.cache import read_rows
from tasks.core.evaluation import evaluate
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import confident_learning
from tasks.core.stage.handles import Evaluation, LabelIssues, Predictions, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import CROSS_PREDICT, LABEL_ISSUES
from tasks.core.workspace import Workspace

TABLE = "label_issues.parquet"
CORRECTIONS_FORM = "label_issues.csv"


def ingredients(
    evaluation: Evaluation, tensors: TensorCache, cross_predictions: Predictions | None
) -> Ingredients:
    """What decides the label issues; see `find_label_issues` for the arguments."""
    return LABEL_ISSUES.ingredients(
        {"evaluation": evaluation.digest, "tensors": tensors.digest}
        | ({CROSS_PREDICT.role: cross_predictions.digest} if cross_predictions else {}),
        {},
    )


def find_label_issues(
    evaluation: Evaluation,
    tensors: TensorCache,
    cross_predictions: Predictions | None,
    workspace: Workspace,
    *,
    refresh: bool = False,
) -> LabelIssues:
    """Find likely wrong labels among the val and test images, and among the train images if possible.

    Args:
        evaluation: Evaluation of a model that was trained on the train images.
        tensors: The tensors with the labels.
        cross_predictions: Probabilities of the train images from models that were not trained on them
            (`--folds`); None leaves the train images out.
        workspace: Where the stage's output is published.
        refresh: Whether to compute an existing output again.
    """
    splits = {split: evaluate.scored_of(evaluation, tensors, split) for split in evaluate.SPLITS}
    if cross_predictions is not None:
        splits["train"] = evaluate.read_scored(cross_predictions, tensors, "train")
    return LABEL_ISSUES.output(
        ingredients(evaluation, tensors, cross_predictions),
        workspace,
        lambda staging: _write_issues(staging, splits, tensors),
        refresh=refresh,
    )


def read_label_issues(issues: LabelIssues) -> pd.DataFrame:
    """The label issues, one row per image, least likely label first.

    Returns:
        Columns split, row, image_id, path, label, class_name (of the given label), suggested_label,
        suggested_class_name, probability (of the given label, 0..1), suggested_probability (0..1).
    """
    return pd.read_parquet(issues.directory / TABLE)


def _write_issues(staging: Path, splits: Mapping[str, Scored], tensors: TensorCache) -> dict[str, Any]:
    rows = read_rows(tensors, ["split", "row", "image_id", "path"]).to_pandas()
    parts = [_issues_of_split(split, scored, tensors.classes) for split, scored in splits.items()]
    table = pd.concat(parts, ignore_index=True).merge(rows, on=["split", "row"], how="left")
    table = table.sort_values("probability", kind="stable", ignore_index=True)
    table.to_parquet(staging / TABLE, index=False)
    form = table[["image_id", "path", "class_name", "suggested_class_name"]].assign(corrected_class_name="")
    form = form.map(markup.cell)  # people open it in a spreadsheet; the corrections are read without it
    form.to_csv(staging / CORRECTIONS_FORM, index=False)
    counts = table["split"].value_counts().to_dict()
    return {"counts": {split: int(counts.get(split, 0)) for split in splits}}


def _issues_of_split(split: str, scored: Scored, classes: tuple[str, ...]) -> pd.DataFrame:
    rows = confident_learning.find_issues(scored.labels, scored.probabilities)
    labels, others = scored.labels[rows], np.array(scored.probabilities[rows], np.float64)
    label_probability = others[np.arange(len(rows)), labels].copy()
    others[np.arange(len(rows)), labels] = -1
    suggested, names = others.argmax(axis=1), np.array(classes)
    return pd.DataFrame(
        {
            "split": split,
            "row": rows,
            "label": labels,
            "class_name": names[labels],
            "suggested_label": suggested,
            "suggested_class_name": names[suggested],
            "probability": label_probability,
            "suggested_probability": others.max(axis=1),
        }
    )
