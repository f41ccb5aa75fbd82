"""Selective classification: the model answers only where its confidence is high enough.

Source: Y. Geifman and R. El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import cluster, intervals
from tasks.core.metrics.intervals import Floats, Ints

MAX_ERRORS = (0.01, 0.02, 0.05, 0.1)  # error rates for which an abstention threshold is searched
COVERAGES = np.arange(1, 51) / 50  # shares of the images for which a threshold is tried
Outcomes = tuple[NDArray[np.bool_], Floats, Ints | None]  # whether correct, confidence, groups; (N,) each


@dataclass(frozen=True)
class Abstention:
    """The confidence threshold for an error rate, and its effect on the test images.

    Args:
        max_error: The highest accepted error rate among the answers, 0..1.
        threshold: Lowest probability of the predicted class at which the model answers, 0..1; None if no
            threshold is proven to keep the error rate.
        coverage: Share of the test images that are answered, 0..1.
        error: Share of wrong answers among them, 0..1; None without answers.
        low: Lower end of its Wilson interval; None without answers.
        high: Upper end of its Wilson interval; None without answers.
    """

    max_error: float
    threshold: float | None
    coverage: float = 0.0
    error: float | None = None
    low: float | None = None
    high: float | None = None


def risk_coverage(correct: NDArray[np.bool_], confidence: Floats) -> tuple[Floats, Floats]:
    """The risk-coverage curve: the share of wrong answers if only the most confident images are answered.

    Args:
        correct: bool (N,), whether each prediction is correct.
        confidence: float64 (N,), 0..1.

    Returns:
        Coverage and risk, float64 (N,) each, 0..1: for the most confident 1, 2, ... N images.
    """
    wrong = ~correct[np.argsort(-confidence, kind="stable")]
    answered = np.arange(1, len(wrong) + 1)
    return answered / len(wrong), np.cumsum(wrong) / answered


def lowest_proven(bounds: tuple[Floats, Floats], max_error: float) -> float | None:
    """The last of the thresholds of `error_bounds` whose bound is at most `max_error`; None if none is.

    Args:
        bounds: Thresholds and the highest error rate of each, float64 (50,), 0..1.
        max_error: The highest accepted error rate, 0..1.
    """
    thresholds, highest = bounds
    proven = np.flatnonzero(highest <= max_error)
    return float(thresholds[proven[-1]]) if len(proven) else None


def error_bounds(
    correct: NDArray[np.bool_], confidence: Floats, groups: Ints | None = None
) -> tuple[Floats, Floats]:
    """Thresholds by increasing coverage, and the highest error rate that each may have.

    50 coverages are tried. Their exact (Clopper-Pearson) upper bounds share an error probability of 5 %, so
    with 95 % probability the error rates on new images of the same kind stay below all of them. With groups,
    the bounds are those of the effective number of images.

    Args:
        correct: bool (N,), whether each prediction is correct; of held-out images that are not test images.
        confidence: float64 (N,), 0..1, of the same images.
        groups: int64 (N,), which images belong together; None if each is by itself.

    Returns:
        float64 (50,) each, 0..1.
    """
    from scipy.special import betaincinv  # imported here: a reused stage needs none of scipy's 0.5 s

    order = np.argsort(-confidence, kind="stable")
    descending, errors_so_far = -confidence[order], np.cumsum(~correct[order])
    thresholds = -descending[np.maximum(1, (COVERAGES * len(order)).astype(int)) - 1]
    ends = np.searchsorted(descending, -thresholds, side="right")  # includes ties
    errors, answered = errors_so_far[ends - 1].astype(np.float64), ends.astype(np.float64)
    if groups is not None:
        answered = _effective_sizes(correct[order], groups[order], ends)
        errors *= answered / ends
    some = errors < answered
    misses = np.where(some, answered - errors, 1.0)
    bounds = betaincinv(errors + 1, misses, 1 - 0.05 / len(COVERAGES))
    return thresholds, np.where(some, bounds, 1.0)


def _effective_sizes(correct: NDArray[np.bool_], groups: Ints, ends: Ints) -> Floats:
    """`cluster.effective_size` of the first images up to each end."""
    codes = np.unique(groups, return_inverse=True)[1]
    hits, sizes = np.zeros(codes.max() + 1), np.zeros(codes.max() + 1)
    found = []
    for start, end in pairwise([0, *ends.tolist()]):
        sizes += np.bincount(codes[start:end], minlength=len(sizes))
        hits += np.bincount(codes[start:end], correct[start:end], len(sizes))
        found.append(cluster.effective_size(hits[sizes > 0], sizes[sizes > 0]))
    return np.array(found)


def abstention(
    max_error: float,
    threshold: float | None,
    correct: NDArray[np.bool_],
    confidence: Floats,
    groups: Ints | None = None,
) -> Abstention:
    """The effect of a threshold on the test images.

    Args:
        max_error: The error rate that the threshold was chosen for, 0..1.
        threshold: See `Abstention`.
        correct: bool (N,), whether each prediction on the test images is correct.
        confidence: float64 (N,), 0..1, of the test images.
        groups: int64 (N,), which test images belong together; None if each is by itself.
    """
    if threshold is None:
        return Abstention(max_error, None)
    answered = confidence >= threshold
    if not answered.any():
        return Abstention(max_error, threshold)
    wrong, count = int(np.sum(~correct & answered)), int(answered.sum())
    if groups is None:
        low, high = intervals.wilson(np.asarray(wrong), np.asarray(count))
    else:
        low, high = map(np.asarray, cluster.rate(~correct[answered], groups[answered]))
    return Abstention(max_error, threshold, count / len(correct), wrong / count, float(low), float(high))


def abstentions(val: Outcomes, test: Outcomes) -> list[dict[str, Any]]:
    """For each error rate in `MAX_ERRORS`, the threshold proven on val, and what it does on test."""
    bounds = error_bounds(*val)
    return [
        asdict(abstention(max_error, lowest_proven(bounds, max_error), *test)) for max_error in MAX_ERRORS
    ]
