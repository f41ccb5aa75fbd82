"""What a classifier's probabilities are worth: the metrics, each defined for the degenerate cases too.

A ratio 0/0 is NaN, never a made-up 0 or 1: precision of a class that was never predicted, recall of a
class without images, F1 of a class with neither. Macro-F1 is the mean over the classes that occur among
the labels or the predictions, balanced accuracy that over the classes that occur among the labels: both
as scikit-learn defines them. Equal probabilities: the class of the lower number is predicted.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.metrics import intervals
from tasks.core.metrics.intervals import Floats, Ints

TOP = 5
# A probability of 0 for the true class would cost infinitely much. scikit-learn clips at the same place
# for float32, the type that models give.
FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Estimate:
    """A metric with its interval at 95 %; all three NaN where the metric is undefined.

    Args:
        method: "wilson" or "bootstrap".
    """

    value: float
    low: float
    high: float
    method: str

    def record(self) -> dict[str, Any]:
        """As JSON: an undefined figure is null."""
        return {name: None if figure != figure else figure for name, figure in asdict(self).items()}


def check(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> None:
    """Refuse what no metric can be computed from.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), each row adding up to 1.

    Raises:
        DataError: No image, shapes that don't match, a label without a class, or rows that are not
            probabilities (NaN included).
    """
    problem = ""
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        problem = f"labels {labels.shape} and probabilities {probabilities.shape}"
    elif not len(labels):
        problem = "no image"
    elif labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        problem = f"labels {labels.min()}..{labels.max()} for {probabilities.shape[1]} classes"
    elif (
        not np.allclose(probabilities.sum(axis=1, dtype=np.float64), 1, atol=1e-3) or probabilities.min() < 0
    ):
        problem = "rows that are not probabilities: negative, not a number, or not adding up to 1"
    if problem:
        raise DataError(
            "predictions cannot be scored",
            expected="labels (N,) and probabilities (N, C), N > 0",
            found=problem,
        )


def predicted_classes(probabilities: NDArray[np.floating]) -> Ints:
    """The most probable class of each row, int64 (N,); of equal ones the first."""
    return np.asarray(probabilities.argmax(axis=1), np.int64)


def in_top(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], k: int = TOP
) -> NDArray[np.bool_]:
    """Whether the label is among the k most probable classes, bool (N,); ties go to the lower number."""
    own = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), axis=1)
    earlier = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > own) | ((probabilities == own) & earlier)
    return np.asarray(ahead.sum(axis=1) < k)


def log_losses(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Floats:
    """Cross-entropy of each image in nats, float64 (N,), 0..15.9 (probabilities are clipped at 1.2e-7)."""
    own = np.take_along_axis(probabilities, labels[:, None].astype(np.int64), axis=1)[:, 0]
    return -np.log(np.clip(own.astype(np.float64), FLOOR, 1.0))


def margins(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Floats:
    """Probability of the label minus the largest of the other classes, float64 (N,), -1..1.

    Negative: a mistake; the nearer to -1, the more confident.
    """
    rows = np.arange(len(labels))
    others = probabilities.astype(np.float64)
    own = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    return np.asarray(own - others.max(axis=1))


def confusion(labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int) -> Ints:
    """Counts of (label, predicted class), int64 (classes, classes)."""
    from sklearn.metrics import confusion_matrix  # late: half a second that a reused stage doesn't need

    return np.asarray(confusion_matrix(labels, predicted, labels=np.arange(classes)), np.int64)


def f1_of(matrices: Ints) -> Floats:
    """F1 of each class: float64 (..., C) from confusion matrices (..., C, C); NaN where 0/0."""
    hits = np.diagonal(matrices, axis1=-2, axis2=-1)
    return _ratio(2 * hits, matrices.sum(axis=-1) + matrices.sum(axis=-2))


def recall_of(matrices: Ints) -> Floats:
    """Recall of each class: float64 (..., C) from confusion matrices (..., C, C); NaN where 0/0."""
    return _ratio(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-1))


def precision_of(matrices: Ints) -> Floats:
    """Precision of each class: float64 (..., C) from confusion matrices (..., C, C); NaN where 0/0."""
    return _ratio(np.diagonal(matrices, axis1=-2, axis2=-1), matrices.sum(axis=-2))


def score(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    resamples: int = intervals.RESAMPLES,
) -> dict[str, Estimate]:
    """Every metric of a split with its interval.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), each row adding up to 1.
        resamples: Of the bootstrap.

    Returns:
        accuracy, top5_accuracy (only for more than 5 classes), macro_f1, balanced_accuracy, log_loss.

    Raises:
        DataError: See `check`.
    """
    check(labels, probabilities)
    right = predicted_classes(probabilities) == labels
    scores = {"accuracy": _rate(right)}
    if probabilities.shape[1] > TOP:
        scores["top5_accuracy"] = _rate(in_top(labels, probabilities))
    matrix = confusion(labels, predicted_classes(probabilities), probabilities.shape[1])
    scores |= _of_matrix(matrix, resamples)
    losses = log_losses(labels, probabilities)
    low, high = intervals.percentiles(intervals.bootstrap_means(losses[:, None], resamples)[:, 0])
    scores["log_loss"] = Estimate(float(losses.mean()), float(low), float(high), "bootstrap")
    return scores


def per_class(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: tuple[str, ...]
) -> pd.DataFrame:
    """One row a class, in the classes' order.

    Returns:
        Columns label, class, support (images of the class), predicted (images called so), and precision,
        recall, f1, each with `_low` and `_high`: Wilson's interval for the first two, the bootstrap's for F1.
    """
    matrix = confusion(labels, predicted, len(classes))
    hits, support, called = np.diagonal(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    recall_ends = intervals.wilson(hits, support)
    precision_ends = intervals.wilson(hits, called)
    f1_ends = intervals.percentiles(intervals.bootstrap_table(matrix, f1_of))
    return pd.DataFrame(
        {
            "label": np.arange(len(classes), dtype=np.int32),
            "class_name": list(classes),
            "support": support,
            "predicted_count": called,
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


def _ratio(part: Ints, whole: Ints) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(part / whole, np.float64)


def _rate(right: NDArray[np.bool_]) -> Estimate:
    low, high = intervals.wilson(np.asarray(right.sum()), np.asarray(len(right)))
    return Estimate(float(np.mean(right)), float(low), float(high), "wilson")


def _macro(matrices: Ints) -> Floats:
    """Macro-F1 and balanced accuracy, float64 (some, 2); both are defined for every matrix with a count."""
    return np.stack([np.nanmean(f1_of(matrices), axis=-1), np.nanmean(recall_of(matrices), axis=-1)], axis=-1)


def _of_matrix(matrix: Ints, resamples: int) -> dict[str, Estimate]:
    values = _macro(matrix[None])[0]
    low, high = intervals.percentiles(intervals.bootstrap_table(matrix, _macro, resamples))
    return {
        name: Estimate(float(values[i]), float(low[i]), float(high[i]), "bootstrap")
        for i, name in enumerate(("macro_f1", "balanced_accuracy"))
    }
