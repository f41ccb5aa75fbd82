"""Selective classification: answering only where the model is sure enough."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import intervals
from tasks.core.metrics.intervals import Floats

COVERAGES = np.arange(1, 51) / 50


@dataclass(frozen=True)
class Abstention:
    """From which confidence on the errors stay below a rate.

    Args:
        max_error: The rate, 0..1.
        threshold: The least probability of the predicted class that is answered; None if no threshold is
            proven to keep the rate.
        coverage: Share of the test images answered.
        error, low, high: Share of wrong answers among these, with its Wilson interval; None without answers.
    """

    max_error: float
    threshold: float | None
    coverage: float = 0.0
    error: float | None = None
    low: float | None = None
    high: float | None = None


def risk_coverage(right: NDArray[np.bool_], confidence: Floats) -> tuple[Floats, Floats]:
    """Share of wrong answers if only the surest images are answered.

    Returns:
        coverage and risk, float64 (N,) each: after the surest 1, 2, ... N images.
    """
    wrong = ~right[np.argsort(-confidence, kind="stable")]
    answered = np.arange(1, len(wrong) + 1)
    return answered / len(wrong), np.cumsum(wrong) / answered


def abstain_at(right: NDArray[np.bool_], confidence: Floats, max_error: float) -> float | None:
    """The threshold with the largest coverage that is proven to keep an error rate.

    Fifty coverages are tried; the exact (Clopper-Pearson) upper bounds share 5 % between them, so with
    95 % probability the rate on new images of the same kind stays below `max_error`.

    Args:
        right, confidence: Of held-out images that are not the test images.

    Returns:
        The least confidence to be answered; None if these images prove none.
    """
    from scipy.stats import beta  # late: scipy takes half a second that a reused stage doesn't need

    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~right[order])
    proven = None
    for coverage in COVERAGES:
        threshold = confidence[order[max(1, int(coverage * len(order))) - 1]]
        answered = int(np.sum(confidence >= threshold))  # with equals of the threshold's own image
        errors = int(wrong[answered - 1])
        bound = beta.ppf(1 - 0.05 / len(COVERAGES), errors + 1, answered - errors) if errors < answered else 1
        if bound <= max_error:
            proven = float(threshold)
    return proven


def abstention(
    max_error: float, threshold: float | None, right: NDArray[np.bool_], confidence: Floats
) -> Abstention:
    """What a threshold does on the test images."""
    if threshold is None:
        return Abstention(max_error, None)
    answered = confidence >= threshold
    if not answered.any():
        return Abstention(max_error, threshold)
    wrong, count = int(np.sum(~right & answered)), int(answered.sum())
    low, high = intervals.wilson(np.asarray(wrong), np.asarray(count))
    return Abstention(max_error, threshold, count / len(right), wrong / count, float(low), float(high))
