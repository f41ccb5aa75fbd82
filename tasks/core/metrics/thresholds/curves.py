"""ROC and precision-recall curves of one class against the rest, and the areas under them with intervals.

Sources: the variance of the area under the ROC curve: E. DeLong, D. DeLong and D. Clarke-Pearson, Biometrics
44, 1988, computed from ranks as in X. Sun and W. Xu, IEEE Signal Processing Letters 21, 2014; average
precision is the step-wise sum of scikit-learn, never the trapezoid of J. Davis and M. Goadrich, ICML 2006;
its interval on the logit scale: K. Boyd, K. Eng, C. Page, ECML PKDD 2013. Everything follows from the order
of the images, see `ranking`.
"""

import numpy as np

from tasks.core.metrics import intervals
from tasks.core.metrics.classification import Estimate
from tasks.core.metrics.intervals import Floats
from tasks.core.metrics.thresholds import ranking
from tasks.core.metrics.thresholds.ranking import Ranking

POINTS = 200  # most points of a stored curve
UNDEFINED = Estimate(float("nan"), float("nan"), float("nan"), "undefined")


def roc(ranked: Ranking) -> Floats:
    """The ROC curve with at most `POINTS` points.

    Args:
        ranked: With images of the class and others.

    Returns:
        float64 (K, 2): 1 - specificity and sensitivity, from (0, 0) to (1, 1).
    """
    found, wrong = _along(ranked)
    return _thinned(np.stack([wrong / ranked.negative, found / ranked.positive], axis=1))


def precision_recall(ranked: Ranking) -> Floats:
    """The precision-recall curve with at most `POINTS` points.

    Args:
        ranked: With images of the class.

    Returns:
        float64 (K, 2): recall and precision, by increasing recall from 0 to 1.
    """
    found, wrong = _along(ranked)
    shown = found + wrong
    precision = np.divide(found, shown, out=np.ones(len(found)), where=shown > 0)
    return _thinned(np.stack([found / ranked.positive, precision], axis=1))


def _along(ranked: Ranking) -> tuple[Floats, Floats]:
    """Images of the class and others that lie above each threshold at which a curve bends."""
    found = np.concatenate([[0], np.repeat(ranked.hits.cumsum(), 2)])
    before = ranked.misses.cumsum() - ranked.ties
    wrong = np.stack([before, ranked.misses.cumsum()], axis=1).ravel()
    return np.concatenate([[0], found]).astype(np.float64), np.concatenate(
        [[0], wrong, [ranked.negative]]
    ).astype(np.float64)


def roc_auc(ranked: Ranking) -> Estimate:
    """The area under the ROC curve with DeLong's interval on the logit scale (M. Pepe, 2003, section 5.2).

    On the plain scale the interval holds the true area too rarely where the area is high or the class is
    rare: 80 instead of 90 % for an area of 0.993 and 36 images of the class (docs/experiments.md).

    An area of exactly 1 has a DeLong variance of 0, which proves nothing. Its lower end is then the exact one
    of min(P, N) disjoint pairs, all of which are in the right order; P and N are the numbers of images of the
    class and of others. An area of 0 has that upper end.

    Args:
        ranked: Without images of the class, or without others, the area is undefined.
    """
    from scipy.special import expit, logit, ndtri

    if not ranked.positive or not ranked.negative:
        return UNDEFINED
    area, variance = ranking.delong(ranked)
    if area in (0.0, 1.0):
        bound = ((1 - intervals.LEVEL) / 2) ** (1 / min(ranked.positive, ranked.negative))
        low, high = (bound, 1.0) if area else (0.0, 1 - bound)
        return Estimate(area, float(low), float(high), "exact")
    half_width = ndtri(0.5 + intervals.LEVEL / 2) * np.sqrt(variance) / (area * (1 - area))
    low, high = expit(logit(area) + np.array([-half_width, half_width]))
    return Estimate(area, float(low), float(high), "delong")


def average_precision(ranked: Ranking) -> Estimate:
    """Average precision with its interval on the logit scale, by the influence of each image.

    The quantile is Student's: with 10 images of the class the interval holds the true value in 97 % of test
    sets, where a bootstrap did in 85 to 87 (docs/experiments.md). One image of the class proves nothing.

    Args:
        ranked: Without images of the class it is undefined.

    Returns:
        An estimate without an interval (NaN) where no image is in the wrong order.
    """
    from scipy.special import expit, logit, stdtrit

    if not ranked.positive:
        return UNDEFINED
    value, variance = ranking.average_precision(ranked)
    if value == 1:  # each resample of a perfect order is perfect: that proves nothing
        return Estimate(value, float("nan"), float("nan"), "none")
    if ranked.positive == 1:
        return Estimate(value, 0.0, 1.0, "influence")
    quantile = stdtrit(ranked.positive - 1, 0.5 + intervals.LEVEL / 2)
    half_width = quantile * np.sqrt(variance) / (value * (1 - value))
    low, high = expit(logit(value) + np.array([-half_width, half_width]))
    return Estimate(value, float(low), float(high), "influence")


def _thinned(points: Floats) -> Floats:
    """At most `POINTS` of the points of a curve, evenly along it; the first and the last stay."""
    if len(points) <= POINTS:
        return points
    lengths = np.append(0, np.abs(np.diff(points, axis=0)).sum(axis=1).cumsum())
    kept = np.searchsorted(lengths, np.linspace(0, lengths[-1], POINTS - 1))
    return points[np.unique(np.append(np.minimum(kept, len(points) - 1), len(points) - 1))]
