"""Label suspects: images whose label is likely wrong, by confident learning on out-of-sample probabilities.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, 2021: the confident joint (its section 3.1) says how many labels of each class are likely wrong
("prune by class", section 3.2), the probability of the given label which ones. A directory has
`suspects.parquet`, the least likely label first, and `suspects.csv`, the same as a form for corrections.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

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


def ingredients(evaluation: Evaluation, tensors: TensorCache, folded: Predictions | None) -> Ingredients:
    return LABEL_ISSUES.ingredients(
        {"evaluation": evaluation.digest, "tensors": tensors.digest}
        | ({CROSS_PREDICT.role: folded.digest} if folded else {}),
        {},
    )


def find_label_issues(
    evaluation: Evaluation,
    tensors: TensorCache,
    folded: Predictions | None,
    workspace: Workspace,
    *,
    refresh: bool = False,
) -> LabelIssues:
    """Look for wrong labels among the val and test images, and the train images if there are folds.

    Args:
        evaluation: Of a model that was trained on the train images.
        folded: Probabilities of the train images by models that have not seen them.
    """
    splits = {split: evaluate.scored_of(evaluation, tensors, split) for split in evaluate.SPLITS}
    if folded is not None:
        splits["train"] = evaluate.read_scored(folded, tensors, "train")
    return LABEL_ISSUES.output(
        ingredients(evaluation, tensors, folded),
        workspace,
        lambda staging: _write(staging, splits, tensors),
        refresh=refresh,
    )


def read_label_issues(suspects: LabelIssues) -> pd.DataFrame:
    """One row a suspect, the least likely label first.

    Returns:
        Columns split, row, id, path, label, given (class names), suggested, suggested_label, probability
        (of the given label), suggested_probability.
    """
    return pd.read_parquet(suspects.directory / TABLE)


def _write(staging: Path, splits: Mapping[str, Scored], tensors: TensorCache) -> dict[str, Any]:
    rows = read_rows(tensors, ["split", "row", "image_id", "path"]).to_pandas()
    parts = [_part(split, scored, tensors.classes) for split, scored in splits.items()]
    table = pd.concat(parts, ignore_index=True).merge(rows, on=["split", "row"], how="left")
    table = table.sort_values("probability", kind="stable", ignore_index=True)
    table.to_parquet(staging / TABLE, index=False)
    form = table[["image_id", "path", "class_name", "suggested_class_name"]].assign(corrected_class_name="")
    form.to_csv(staging / CORRECTIONS_FORM, index=False)
    counts = table["split"].value_counts().to_dict()
    return {"counts": {split: int(counts.get(split, 0)) for split in splits}}


def _part(split: str, scored: Scored, classes: tuple[str, ...]) -> pd.DataFrame:
    rows = confident_learning.find_issues(scored.labels, scored.probabilities)
    labels, others = scored.labels[rows], np.array(scored.probabilities[rows], np.float64)
    own = others[np.arange(len(rows)), labels].copy()
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
            "probability": own,
            "suggested_probability": others.max(axis=1),
        }
    )
