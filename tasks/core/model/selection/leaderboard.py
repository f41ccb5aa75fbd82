"""The leaderboard of a cross-validation: each recipe's scores over all images, and the choice among them.

The choice of a recipe is scored too, as the row "auto": in each fold the recipe is chosen by the images of
the other folds, and scored on the images of this one. So the figure is not that of the luckiest recipe. What
is left of optimism: the models that predict the images of other folds have seen images of this one. The exact
way, a cross-validation inside each fold, costs as many times more as there are folds (S. Varma, R. Simon,
"Bias in error estimation when using cross-validation for model selection", BMC Bioinformatics 7, 2006).

Intervals describe these predictions. They leave out that the models of the folds share images: no unbiased
estimator of that variance exists (Y. Bengio, Y. Grandvalet, JMLR 5, 2004).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.metrics import cluster, intervals
from tasks.core.model.selection import choice
from tasks.core.model.selection.choice import Probabilities, log_losses
from tasks.core.stage.handles import CrossValidation

TABLE = "leaderboard.parquet"
PREDICTIONS = "predictions.parquet"
AUTO = "auto"


def read_leaderboard(validation: CrossValidation) -> pd.DataFrame:
    """One row per recipe, the most accurate first.

    Returns:
        Columns cross_validation (the digest), recipe, accuracy, low, high (0..1, 95 %), log_loss, images,
        groups, folds, folds_chosen (in how many folds the recipe is chosen by the other folds; null if there
        is one recipe), cpu_seconds, wall_seconds, scored (whether the row is the score of the run).
    """
    return pd.read_parquet(validation.directory / TABLE).assign(cross_validation=validation.digest)


def read_predictions(validation: CrossValidation) -> pd.DataFrame:
    """One row per image and recipe.

    Returns:
        Columns recipe, split, row (of the image in the tensors), image_id, path, fold, group, label,
        class_name, predicted_label, predicted_class_name, probabilities.
    """
    return pd.read_parquet(validation.directory / PREDICTIONS)


def row(
    name: str,
    probabilities: Probabilities,
    labels: NDArray[np.int32],
    groups: NDArray[np.int64] | None,
    cost: Mapping[str, float],
) -> dict[str, Any]:
    """A recipe's row of the leaderboard.

    Args:
        name: The recipe, or "auto".
        probabilities: What it predicts for each image by a model that has not seen it, float32 (N, classes).
        labels: int32 (N,).
        groups: int64 (N,), images that belong together; None if each image is alone.
        cost: cpu_seconds and wall_seconds.
    """
    correct = probabilities.argmax(axis=1) == labels
    low, high = _interval(correct, groups)
    return {
        "recipe": name,
        "accuracy": float(correct.mean()),
        "low": float(low),
        "high": float(high),
        "log_loss": float(log_losses(probabilities, labels).mean()),
        "images": len(labels),
        "groups": len(labels) if groups is None else len(np.unique(groups)),
        "cpu_seconds": cost["cpu_seconds"],
        "wall_seconds": cost["wall_seconds"],
    }


def _interval(correct: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> tuple[Any, Any]:
    if groups is not None:
        return cluster.rate(correct, groups)
    return intervals.wilson(np.array(correct.sum()), np.array(len(correct)))


def choice_of(
    predicted: Mapping[str, Probabilities], labels: NDArray[np.int32], scored: NDArray[np.bool_]
) -> str:
    """The recipe that some of the images choose.

    Args:
        predicted: By recipe, out-of-fold probabilities, float32 (N, classes).
        labels: int32 (N,).
        scored: bool (N,), the images that choose.
    """
    correct = {name: (values.argmax(axis=1) == labels)[scored] for name, values in predicted.items()}
    losses = {name: float(log_losses(values, labels)[scored].mean()) for name, values in predicted.items()}
    return choice.best(correct, losses)


def choices(
    predicted: Mapping[str, Probabilities], labels: NDArray[np.int32], assigned: NDArray[np.int8]
) -> list[str]:
    """The recipe that the images of the other folds choose, for each fold.

    Args:
        predicted: By recipe, out-of-fold probabilities, float32 (N, classes).
        labels: int32 (N,).
        assigned: The fold of each image, int8 (N,), 0..folds-1.
    """
    numbers = range(int(assigned.max()) + 1)
    return [choice_of(predicted, labels, assigned != number) for number in numbers]


def of_choices(
    predicted: Mapping[str, Probabilities], assigned: NDArray[np.int8], chosen: list[str]
) -> Probabilities:
    """What the recipe that was chosen for each image's fold predicts, float32 (N, classes)."""
    whole = next(iter(predicted.values())).copy()
    for number, name in enumerate(chosen):
        whole[assigned == number] = predicted[name][assigned == number]
    return whole
