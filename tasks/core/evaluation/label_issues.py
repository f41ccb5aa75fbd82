"""The label_issues stage: finds likely wrong labels by out-of-sample probabilities.

The probability that a label is wrong follows from a model of the label noise
(`tasks.core.metrics.labels.label_noise`). Images are listed where it is at least `LISTED`. If these are few,
the least likely labels that confident learning finds ("prune by class": C. Northcutt, L. Jiang, I. Chuang,
JAIR 70, 2021) are listed too, up to `AT_LEAST` of a split. The stage's directory has `label_issues.parquet`,
the label that is most probably wrong first, and `label_issues.csv`, the same rows as a form for corrections.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import markup
from tasks.core.data.tensors.cache import read_rows
from tasks.core.evaluation import evaluate
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import classification, intervals
from tasks.core.metrics.comparison import baseline
from tasks.core.metrics.labels import confident_learning, label_noise
from tasks.core.stage.handles import Evaluation, LabelIssues, Predictions, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import CROSS_PREDICT, LABEL_ISSUES
from tasks.core.workspace import Workspace

TABLE = "label_issues.parquet"
CORRECTIONS_FORM = "label_issues.csv"
LISTED = 0.1  # probability of a wrong label from which an image is listed
# Images of a class, on average; of fewer, mistakes and wrong labels are not told apart: of 30 clean labels of
# digits, 3 to 7 were called wrong, and of 60 up to 3.
FEWEST = 10
AT_LEAST = 20  # images of a split that are listed in any case, if confident learning finds so many


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
    """The label issues, one row per image, the label that is most probably wrong first.

    Returns:
        Columns split, row, image_id, path, label, class_name (of the given label), suggested_label,
        suggested_class_name, probability (of the given label, 0..1), suggested_probability (0..1),
        wrong_probability (0..1; the sum is the expected number of wrong labels).
    """
    return pd.read_parquet(issues.directory / TABLE)


def rows_in_doubt(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], wrong: NDArray[np.float64]
) -> NDArray[np.int64]:
    """The rows to list: where a wrong label is probable enough, else the least likely labels.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1, of models that were not trained on the images.
        wrong: The probability that each label is wrong, (N,), 0..1.

    Returns:
        int64 (K,), row numbers 0..N-1, the most probably wrong first.
    """
    rows = np.flatnonzero(wrong >= LISTED)
    if len(rows) < AT_LEAST:
        rows = np.union1d(rows, confident_learning.find_issues(labels, probabilities)[:AT_LEAST])
    # By the probability of the label where the estimated noise is 0.
    return rows[np.lexsort((probabilities[rows, labels[rows]], -wrong[rows]))]


def _write_issues(staging: Path, splits: Mapping[str, Scored], tensors: TensorCache) -> dict[str, Any]:
    rows = read_rows(tensors, ["split", "row", "image_id", "path"]).to_pandas()
    wrong = _wrong_probabilities(splits)
    parts = [_issues_of_split(split, splits[split], wrong[split], tensors.classes) for split in splits]
    table = pd.concat(parts, ignore_index=True).merge(rows, on=["split", "row"], how="left")
    # By the smaller probability where the estimated noise is 0.
    by, ascending = ["wrong_probability", "probability"], [False, True]
    table = table.sort_values(by, ascending=ascending, kind="stable", ignore_index=True)
    table.to_parquet(staging / TABLE, index=False)
    form = table[["image_id", "path", "class_name", "suggested_class_name"]].assign(corrected_class_name="")
    form = form.map(markup.cell)  # people open it in a spreadsheet; the corrections are read without it
    form["wrong_probability"] = table["wrong_probability"].round(2)
    form.to_csv(staging / CORRECTIONS_FORM, index=False)
    counts = table["split"].value_counts().to_dict()
    return {
        "counts": {split: int(counts.get(split, 0)) for split in splits},
        "expected_wrong": float(table["wrong_probability"].sum())
        if _is_informed(list(splits.values()))
        else None,
    }


def _is_informed(splits: Sequence[Scored]) -> bool:
    """Whether there are enough images, and the probabilities provably tell more than the classes' shares.

    If not, the noise model takes the mistakes of a model that has learned nothing for wrong labels.
    """
    labels = np.concatenate([scored.labels for scored in splits])
    if len(labels) < FEWEST * splits[0].probabilities.shape[1]:
        return False
    counts = np.bincount(labels, minlength=splits[0].probabilities.shape[1])
    of_model = [classification.log_losses(scored.labels, scored.probabilities) for scored in splits]
    saved = baseline.constant_losses(labels, counts) - np.concatenate(of_model)
    low, _ = intervals.of_mean(saved, -baseline.MOST_LOSS, baseline.MOST_LOSS)
    return float(low) > 0


def _wrong_probabilities(splits: Mapping[str, Scored]) -> dict[str, NDArray[np.float64]]:
    """For each split the probability that each label is wrong; one model has predicted val and test."""
    noises: dict[bool, label_noise.LabelNoise] = {}
    for is_train in {split == "train" for split in splits}:
        scored = [splits[split] for split in splits if (split == "train") is is_train]
        noises[is_train] = label_noise.fit(*_fitted(scored))
    return {
        split: noises[split == "train"].wrong(scored.labels, scored.probabilities)
        for split, scored in splits.items()
    }


def _fitted(scored: Sequence[Scored]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Labels and probabilities of the images to which the noise is fitted, evenly from all splits."""
    sizes = [len(each.labels) for each in scored]
    kept = label_noise.fitted_rows(sum(sizes), scored[0].probabilities.shape[1])
    starts = np.cumsum([0, *sizes])
    rows = [kept[(kept >= first) & (kept < end)] - first for first, end in pairwise(starts)]
    parts = list(zip(scored, rows, strict=True))
    labels = np.concatenate([each.labels[own] for each, own in parts])
    return labels, np.concatenate([each.probabilities[own] for each, own in parts])


def _issues_of_split(
    split: str, scored: Scored, wrong: NDArray[np.float64], classes: tuple[str, ...]
) -> pd.DataFrame:
    rows = rows_in_doubt(scored.labels, scored.probabilities, wrong)
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
            "wrong_probability": wrong[rows],
        }
    )
