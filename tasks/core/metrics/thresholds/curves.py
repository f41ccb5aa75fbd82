"""ROC and precision-recall curves of one class against the rest, and the areas under them with intervals.

Sources: the variance of the area under the ROC curve: E. DeLong, D. DeLong and D. Clarke-Pearson, Biometrics
44, 1988, computed from ranks as in X. Sun and W. Xu, IEEE Signal Processing Letters 21, 2014; average
precision is the step-wise sum of scikit-learn, never the trapezoid of J. Davis and M. Goadrich, ICML 2006.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import intervals
from tasks.core.metrics.classification import Estimate
from tasks.core.metrics.intervals import Floats, Ints

POINTS = 200  # most points of a stored curve
DRAWS = 10_000_000  # random numbers of one bootstrap; limits it to about a second
MIN_RESAMPLES, MAX_RESAMPLES = 400, 2000
UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"), "undefined")

Truth = NDArray[np.bool_]


def roc(truth: Truth, scores: Floats) -> Floats:
    """The ROC curve with at most `POINTS` points.

    Args:
        truth: bool (N,), whether each image is of the class; both values occur.
        scores: float64 (N,), the probability of the class, 0..1.

    Returns:
        float64 (K, 2): 1 - specificity and sensitivity, from (0, 0) to (1, 1).
    """
    from sklearn.metrics import (
        roc_curve,
    )  # imported here: it takes 0.5 s, and a reused stage needs none of it

    false_rate, true_rate, _ = roc_curve(truth, scores)
    return _thinned(np.stack([false_rate, true_rate], axis=1))


def precision_recall(truth: Truth, scores: Floats) -> Floats:
    """The precision-recall curve with at most `POINTS` points.

    Args:
        truth: bool (N,), whether each image is of the class; at least one is.
        scores: float64 (N,), the probability of the class, 0..1.

    Returns:
        float64 (K, 2): recall and precision, by increasing recall from 0 to 1.
    """
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(truth, scores)
    return _thinned(np.stack([recall, precision], axis=1)[::-1])


def roc_auc(truth: Truth, scores: Floats) -> Estimate:
    """The area under the ROC curve with DeLong's interval on the logit scale (M. Pepe, 2003, section 5.2).

    On the plain scale the interval holds the true area too rarely where the area is high or the class is
    rare: 80 instead of 90 % for an area of 0.993 and 36 images of the class (docs/experiments.md).

    An area of exactly 1 has a DeLong variance of 0, which proves nothing. Its lower end is then the exact one
    of min(P, N) disjoint pairs, all of which are in the right order; P and N are the numbers of images of the
    class and of others. An area of 0 has that upper end.

    Args:
        truth: bool (N,), whether each image is of the class. Without images of the class, or without others,
            the area is undefined.
        scores: float64 (N,), the probability of the class, 0..1.
    """
    from scipy.special import expit, logit, ndtri

    if truth.all() or not truth.any():
        return UNDEFINED
    area, variance = delong(scores[truth], scores[~truth])
    if area in (0.0, 1.0):
        bound = ((1 - intervals.LEVEL) / 2) ** (1 / min(truth.sum(), (~truth).sum()))
        low, high = (bound, 1.0) if area else (0.0, 1 - bound)
        return Estimate(area, float(low), float(high), "exact")
    half_width = ndtri(0.5 + intervals.LEVEL / 2) * np.sqrt(variance) / (area * (1 - area))
    low, high = expit(logit(area) + np.array([-half_width, half_width]))
    return Estimate(area, float(low), float(high), "delong")


def delong(positive: Floats, negative: Floats) -> tuple[float, float]:
    """The area under the ROC curve and DeLong's estimate of its variance.

    Args:
        positive: float64 (P,), scores of the images of the class; P > 0.
        negative: float64 (N,), scores of the other images; N > 0.

    Returns:
        The area, 0..1, and its variance; 0 where one of P and N is 1 and the other shows no spread.
    """
    from scipy.stats import rankdata

    count, others = len(positive), len(negative)
    ranks = rankdata(np.concatenate([positive, negative]))
    of_positive = (ranks[:count] - rankdata(positive)) / others  # share of the others below each
    of_negative = 1 - (ranks[count:] - rankdata(negative)) / count  # share of the class above each
    variance = sum(part.var(ddof=1) / len(part) for part in (of_positive, of_negative) if len(part) > 1)
    return float(of_positive.mean()), float(variance)


def average_precision(truth: Truth, scores: Floats, resamples: int | None = None) -> Estimate:
    """Average precision with a percentile bootstrap stratified by class.

    Args:
        truth: bool (N,), whether each image is of the class. Without images of the class it is undefined.
        scores: float64 (N,), the probability of the class, 0..1.
        resamples: Number of resamples; None takes as many as cost about a second; 0 gives no interval.

    Returns:
        An estimate without an interval (NaN) where no image is in the wrong order.
    """
    if not truth.any():
        return UNDEFINED
    hits, misses = _steps(truth, scores)
    value = float(_average_precision(hits[None], misses[None])[0])
    count = min(MAX_RESAMPLES, max(MIN_RESAMPLES, DRAWS // len(hits))) if resamples is None else resamples
    if not count or value == 1:  # each resample of a perfect order is perfect: that proves nothing
        return Estimate(value, float("nan"), float("nan"), "none")
    low, high = intervals.percentiles(_resampled_precision(hits, misses, count))
    return Estimate(value, float(low), float(high), "bootstrap")


def _steps(truth: Truth, scores: Floats) -> tuple[Ints, Ints]:
    """Images of the class at each of their G distinct scores, and others there or since the step before.

    Average precision depends on nothing else, so a resample costs O(G), not O(N).

    Returns:
        int64 (G,) and int64 (G + 1,), from the highest score down; the last are others below all of them.
    """
    distinct, hits = np.unique(-scores[truth], return_counts=True)
    place = np.searchsorted(distinct, -scores[~truth])
    return hits.astype(np.int64), np.bincount(place, minlength=len(distinct) + 1).astype(np.int64)


def _average_precision(hits: Ints, misses: Ints) -> Floats:
    """Average precision of each row of counts by `_steps`: float64 (B,)."""
    found, wrong = hits.cumsum(axis=1), misses[:, :-1].cumsum(axis=1)
    precision = found / np.maximum(found + wrong, 1)
    return np.asarray((hits * precision).sum(axis=1) / found[:, -1], np.float64)


def _resampled_precision(hits: Ints, misses: Ints, resamples: int) -> Floats:
    generator = np.random.default_rng(intervals.SEED)
    shares = misses / max(misses.sum(), 1)
    step = max(1, intervals.BLOCK // len(hits))
    blocks = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.multinomial(hits.sum(), hits / hits.sum(), size)
        others = np.zeros((size, len(misses)), np.int64)
        if misses.any():
            others = generator.multinomial(misses.sum(), shares, size)
        blocks.append(_average_precision(drawn, others))
    return np.concatenate(blocks)


def _thinned(points: Floats) -> Floats:
    """At most `POINTS` of the points of a curve, evenly along it; the first and the last stay."""
    if len(points) <= POINTS:
        return points
    lengths = np.append(0, np.abs(np.diff(points, axis=0)).sum(axis=1).cumsum())
    kept = np.searchsorted(lengths, np.linspace(0, lengths[-1], POINTS - 1))
    return points[np.unique(np.append(np.minimum(kept, len(points) - 1), len(points) - 1))]
