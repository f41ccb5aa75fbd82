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
from numpy.typing import NDArray

from tasks.core import stage
from tasks.core.handles import Evaluation, Predictions, Suspects, TensorCache
from tasks.core.results import evaluation as evaluations
from tasks.core.results.evaluation import Scored
from tasks.core.results.intervals import Floats, Ints
from tasks.core.stage import Ingredients
from tasks.core.workspace import Workspace

TABLE = "suspects.parquet"
FORM = "suspects.csv"


def ingredients(evaluation: Evaluation, tensors: TensorCache, folded: Predictions | None) -> Ingredients:
    return Ingredients(
        stage="suspects",
        inputs={"evaluation": evaluation.digest, "tensors": tensors.digest}
        | ({"folded": folded.digest} if folded else {}),
        parameters={},
        modules=(__name__,),
        libraries=("numpy", "pandas", "pyarrow"),
    )


def find(
    evaluation: Evaluation,
    tensors: TensorCache,
    folded: Predictions | None,
    workspace: Workspace,
    *,
    refresh: bool = False,
) -> Suspects:
    """Look for wrong labels among the val and test images, and the train images if there are folds.

    Args:
        evaluation: Of a model that was trained on the train images.
        folded: Probabilities of the train images by models that have not seen them.
    """
    made_of = ingredients(evaluation, tensors, folded)
    directory = workspace.suspects / made_of.digest
    splits = {split: evaluations.scored_again(evaluation, tensors, split) for split in evaluations.SPLITS}
    if folded is not None:
        splits["train"] = evaluations.scored(folded, tensors, "train")
    manifest = stage.publish(
        directory, made_of, lambda staging: _write(staging, splits, tensors), refresh=refresh
    )
    return Suspects(path=workspace.relative(directory), digest=made_of.digest, **manifest["facts"])


def read(suspects: Suspects) -> pd.DataFrame:
    """One row a suspect, the least likely label first.

    Returns:
        Columns split, row, id, path, label, given (class names), suggested, suggested_label, probability
        (of the given label), suggested_probability.
    """
    return pd.read_parquet(suspects.directory / TABLE)


def confident_joint(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Ints:
    """Counts of (given label, class that the model is confident of).

    A model is confident of a class if it gives it at least the mean probability that images of this label
    get for it; of several such classes, the most probable counts, and an image with none counts nowhere.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), of models that have not seen the images.

    Returns:
        int64 (C, C).
    """
    classes = probabilities.shape[1]
    values = probabilities.astype(np.float64)
    confident = values >= _thresholds(labels, values) - 1e-6  # float32 probabilities: equal is equal
    counted = confident.any(axis=1)
    best = np.where(confident, values, -1).argmax(axis=1)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (labels[counted], best[counted]), 1)
    return joint


def doubtful(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Rows whose label is likely wrong, the least likely label first.

    Of each class as many as the confident joint has off its diagonal, scaled to all images of the class.
    """
    joint = confident_joint(labels, probabilities)
    wrong = 1 - np.diagonal(joint) / np.maximum(joint.sum(axis=1), 1)
    own = probabilities[np.arange(len(labels)), labels]
    chosen: list[NDArray[np.int64]] = [
        _least(np.flatnonzero(labels == label), own, share) if joint[label].sum() else np.empty(0, np.int64)
        for label, share in enumerate(wrong)
    ]
    rows = np.concatenate(chosen)
    return rows[np.argsort(own[rows], kind="stable")]


def _thresholds(labels: NDArray[np.integer], probabilities: Floats) -> Floats:
    """Mean probability that the images of each label get for it; infinite for a class without images."""
    count = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    total = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def _least(rows: NDArray[np.int64], own: NDArray[np.floating], share: float) -> NDArray[np.int64]:
    return rows[np.argsort(own[rows], kind="stable")][: round(share * len(rows))]


def _write(staging: Path, splits: Mapping[str, Scored], tensors: TensorCache) -> dict[str, Any]:
    rows = pd.read_parquet(tensors.directory / "rows.parquet", columns=["split", "row", "id", "path"])
    parts = [_part(split, scored, tensors.classes) for split, scored in splits.items()]
    table = pd.concat(parts, ignore_index=True).merge(rows, on=["split", "row"], how="left")
    table = table.sort_values("probability", kind="stable", ignore_index=True)
    table.to_parquet(staging / TABLE, index=False)
    form = table[["id", "path", "given", "suggested"]].assign(label="")
    form.to_csv(staging / FORM, index=False)
    counts = table["split"].value_counts().to_dict()
    return {"counts": {split: int(counts.get(split, 0)) for split in splits}}


def _part(split: str, scored: Scored, classes: tuple[str, ...]) -> pd.DataFrame:
    rows = doubtful(scored.labels, scored.probabilities)
    labels, others = scored.labels[rows], np.array(scored.probabilities[rows], np.float64)
    own = others[np.arange(len(rows)), labels].copy()
    others[np.arange(len(rows)), labels] = -1
    suggested, names = others.argmax(axis=1), np.array(classes)
    return pd.DataFrame(
        {
            "split": split,
            "row": rows,
            "label": labels,
            "given": names[labels],
            "suggested_label": suggested,
            "suggested": names[suggested],
            "probability": own,
            "suggested_probability": others.max(axis=1),
        }
    )
