"""Classification metrics with their intervals; each is defined for the degenerate cases too.

A ratio 0/0 is NaN, never 0 or 1: the precision of a class that was never predicted, the recall of a class
without images, the F1 of a class with neither. Macro-F1 is the mean over the classes that occur among the
labels or the predictions; balanced accuracy is the mean over the classes that occur among the labels. Both
follow scikit-learn's definitions. Among classes with equal probabilities, the lowest class number is
predicted.
"""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.metrics import blocks, cluster, intervals, left_out, table_intervals
from tasks.core.metrics.intervals import Floats, Ints

if TYPE_CHECKING:
    import pandas as pd

# A probability of 0 for the true class would have an infinite loss. scikit-learn clips at the same value for
# float32, the type of a model's output.
FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % interval; all three are NaN where the metric is undefined.

    Args:
        value: The metric on the images.
        low: Lower end of the interval.
        high: Upper end of the interval.
        method: How the interval was computed: "exact" (Clopper-Pearson), "classes" (from the exact
            ones of the classes), "skewness" (of a mean, corrected for it), "inverted test", or "cluster"
            where images have groups.
    """

    value: float
    low: float
    high: float
    method: str

    def record(self) -> dict[str, Any]:
        """The estimate as JSON values; an undefined value is null."""
        return {name: None if figure != figure else figure for name, figure in asdict(self).items()}


def check(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> None:
    """Raise if no metric can be computed from these predictions.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1; each row adds up to 1.

    Raises:
        DataError: There is no image, the shapes don't match, a label is out of range, or a row is not a
            probability distribution (NaN included).
    """
    problem = ""
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        problem = f"labels {labels.shape} and probabilities {probabilities.shape}"
    elif not len(labels):
        problem = "no image"
    elif labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        problem = f"labels {labels.min()}..{labels.max()} for {probabilities.shape[1]} classes"
    elif not all(_are_distributions(probabilities[part]) for part in blocks.rows(probabilities)):
        problem = "rows that are not probabilities: negative, not a number, or not adding up to 1"
    if problem:
        raise DataError(
            "predictions cannot be scored",
            expected="labels (N,) and probabilities (N, C), N > 0",
            found=problem,
        )


def _are_distributions(probabilities: NDArray[np.floating]) -> bool:
    """Whether all rows are; NaN is none."""
    totals = probabilities.sum(axis=1, dtype=np.float64)
    return bool(np.all(np.abs(totals - 1) <= 1e-3) and probabilities.min() >= 0)


def predicted_classes(probabilities: NDArray[np.floating]) -> Ints:
    """The most probable class of each row; the lowest class number among equal ones.

    Args:
        probabilities: Floats (N, C), 0..1.

    Returns:
        int64 (N,), 0..C-1.
    """
    predicted = np.empty(len(probabilities), np.int64)
    for part in blocks.rows(probabilities):  # at once, argmax takes 4 times as long, and 30 times if mapped
        predicted[part] = probabilities[part].argmax(axis=1)
    return predicted


def in_top(labels: NDArray[np.integer], probabilities: NDArray[np.floating], k: int = 5) -> NDArray[np.bool_]:
    """Whether the label is among the k most probable classes; the lower class number wins a tie.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
        k: Number of classes that count.

    Returns:
        bool (N,).
    """
    of_label, ahead = label_probabilities(labels, probabilities), np.empty(len(labels), np.int64)
    for part in blocks.rows(probabilities):
        block, own = probabilities[part], of_label[part, None]
        ahead[part] = np.count_nonzero(block > own, axis=1)
        tied = np.flatnonzero(np.count_nonzero(block == own, axis=1) > 1)
        lower_number = np.arange(block.shape[1]) < labels[part][tied, None]
        ahead[part][tied] += np.count_nonzero((block[tied] == own[tied]) & lower_number, axis=1)
    return np.asarray(ahead < k)


def label_probabilities(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> NDArray[np.floating]:
    """The probability of each image's label, floats (N,), 0..1.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
    """
    return np.asarray(probabilities[np.arange(len(labels)), labels])


def log_losses(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Floats:
    """Cross-entropy of each image in nats; probabilities are clipped at 1.2e-7.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.

    Returns:
        float64 (N,), 0..15.9.
    """
    return losses_of(label_probabilities(labels, probabilities))


def losses_of(label_probability: NDArray[np.floating]) -> Floats:
    """Cross-entropy of each image in nats, float64 (N,), as in `log_losses`.

    Args:
        label_probability: Floats (N,), 0..1, the probability of each image's label.
    """
    return -np.log(np.clip(label_probability.astype(np.float64), FLOOR, 1.0))


def margins(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Floats:
    """Probability of the label minus the largest probability of the other classes.

    A negative margin is a mistake; a margin near -1 is a confident mistake.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.

    Returns:
        float64 (N,), -1..1.
    """
    rows = np.arange(len(labels))
    others = probabilities.astype(np.float64)
    label_probability = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    return np.asarray(label_probability - others.max(axis=1))


def confusion(labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> Ints:
    """The confusion matrix: counts of (label, predicted class).

    Args:
        labels: Integers (N,), 0..classes-1.
        predicted: Integers (N,), 0..classes-1.
        classes: Number of classes.

    Returns:
        int64 (classes, classes).
    """
    cells = np.asarray(labels, np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes**2).astype(np.int64).reshape(classes, classes)


def f1_of(matrices: Ints) -> Floats:
    """F1 of each class: float64 (..., C) from confusion matrices int64 (..., C, C); NaN where 0/0."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    return ratio(2 * hits, matrices.sum(axis=-1) + matrices.sum(axis=-2))


def recall_of(matrices: Ints) -> Floats:
    """Recall of each class: float64 (..., C) from confusion matrices int64 (..., C, C); NaN where 0/0."""
    return ratio(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-1))


def precision_of(matrices: Ints) -> Floats:
    """Precision of each class: float64 (..., C) from confusion matrices int64 (..., C, C); NaN where 0/0."""
    return ratio(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-2))


def mean(values: Floats, most: float, groups: Ints | None = None) -> Estimate:
    """The mean of one figure per image, float64 (N,), 0..most, with its interval."""
    if groups is not None:
        return Estimate(float(values.mean()), *cluster.mean(values, groups), "cluster")
    return Estimate(float(values.mean()), *intervals.of_mean(values, 0.0, most), "skewness")


def per_class(
    labels: NDArray[np.integer],
    predicted: NDArray[np.integer],
    classes: tuple[str, ...],
    groups: Ints | None = None,
) -> "pd.DataFrame":
    """Metrics of each class; one row per class, in class order.

    Args:
        labels: Integers (N,), 0..C-1.
        predicted: Integers (N,), 0..C-1.
        classes: Names of the C classes.
        groups: int64 (N,), which images belong together; None if each is by itself.

    Returns:
        Columns label, class_name, support (images with this label), predicted_count (images with this
        prediction), precision, recall and f1. The last three have interval columns `_low` and `_high`, which
        are exact; with groups, those of `cluster`.
    """
    matrix = confusion(labels, predicted, len(classes))
    support, predicted_count = matrix.sum(axis=1), matrix.sum(axis=0)
    recall_ends, precision_ends, f1_ends = _class_ends(labels, predicted, matrix, groups)
    import pandas as pd  # imported here: it takes 0.4 s, and readers of the registry can spare it

    return pd.DataFrame(
        {
            "label": np.arange(len(classes), dtype=np.int32),
            "class_name": list(classes),
            "support": support,
            "predicted_count": predicted_count,
            "precision": precision_of(matrix),
            "precision_low": precision_ends[0],
            "precision_high": precision_ends[1],
            "recall": recall_of(matrix),
            "recall_low": recall_ends[0],
            "recall_high": recall_ends[1],
            "f1": f1_of(matrix),
            "f1_low": f1_ends[0],
            "f1_high": f1_ends[1],
        }
    )


def ratio(numerator: Ints, denominator: Ints) -> Floats:
    """Elementwise ratio, float64; NaN where 0/0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(numerator / denominator, np.float64)


def _class_ends(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], matrix: Ints, groups: Ints | None
) -> tuple[tuple[Floats, Floats], ...]:
    """Intervals of recall, precision and F1 of each class, float64 (C,) each."""
    if groups is None:
        hits = np.diagonal(matrix)
        recall, precision = (intervals.clopper_pearson(hits, matrix.sum(axis=axis)) for axis in (1, 0))
        return recall, precision, table_intervals.of_f1(matrix)
    by_label = left_out.ClassCounts.of(labels, predicted, groups, len(matrix))
    by_prediction = replace(by_label, labels=by_label.predicted, predicted=by_label.labels)
    ends = left_out.of_recall(by_label), left_out.of_recall(by_prediction)
    return *ends, left_out.of_f1(by_label)
