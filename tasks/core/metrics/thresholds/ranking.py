"""The order of images by the score of one class, as counts: what areas under curves depend on.

One sort serves both areas and their intervals. Everything after it costs as much as the class has images,
not as the test set has.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics.intervals import Floats, Ints


@dataclass(frozen=True)
class Ranking:
    """Images by the G distinct scores that images of the class have, from the highest down.

    Args:
        hits: int64 (G,), images of the class with each score; at least 1.
        ties: int64 (G,), other images with exactly that score.
        between: int64 (G + 1,), other images above each score and below the one before; the last are those
            below all.
    """

    hits: Ints
    ties: Ints
    between: Ints

    @classmethod
    def of(cls, truth: NDArray[np.bool_] | Ints, scores: NDArray[np.floating]) -> "Ranking":
        """Sort the images, but for those below all images of the class.

        Args:
            truth: bool (N,), or int64 (P,): which images are of the class.
            scores: Floats (N,), the probability of the class.
        """
        distinct, hits = np.unique(scores[truth], return_counts=True)
        if not len(distinct):
            return cls(hits, hits, np.array([len(scores)]))
        ordered = np.sort(scores[scores >= distinct[0]])
        first, end = (
            np.asarray(np.searchsorted(ordered, distinct, side), np.int64)[::-1] for side in ("left", "right")
        )
        between = np.concatenate([[len(ordered)], first]) - np.append(end, 0)
        between[-1] = len(scores) - len(ordered)
        return cls(hits[::-1], end - first - hits[::-1], between)

    @property
    def positive(self) -> int:
        """Images of the class."""
        return int(self.hits.sum())

    @property
    def negative(self) -> int:
        """Other images."""
        return int(self.ties.sum() + self.between.sum())

    @property
    def misses(self) -> Ints:
        """Others at each score or since the one before, int64 (G,)."""
        return np.asarray(self.ties + self.between[:-1])


def delong(ranking: Ranking) -> tuple[float, float]:
    """The area under the ROC curve and DeLong's estimate of its variance.

    Args:
        ranking: With images of the class and others.

    Returns:
        The area, 0..1, and its variance; 0 where one of both kinds has 1 image and the other no spread.
    """
    hits, ties = ranking.hits, ranking.ties
    above = ranking.misses.cumsum() - ties / 2  # a tie counts half
    of_positive = 1 - above / ranking.negative  # share of the others below each
    before = np.concatenate([[0], hits.cumsum()])
    of_negative = np.concatenate([before, before[:-1] + hits / 2]) / ranking.positive
    counts = np.concatenate([ranking.between, ties])
    variance = _mean_variance(of_positive, hits) + _mean_variance(of_negative, counts)
    return float(of_positive @ hits / hits.sum()), variance


def average_precision(ranking: Ranking) -> tuple[float, float]:
    """Average precision, and its variance by the influence of each image.

    The influence is the derivative by the image's weight, centred within the class and within the others,
    whose numbers are taken as given (the infinitesimal jackknife: L. Jaeckel, Bell Laboratories, 1972).

    Returns:
        The average precision, 0..1, and its variance.
    """
    hits, count = ranking.hits, ranking.positive
    found, wrong = hits.cumsum(), ranking.misses.cumsum()
    shown = found + wrong
    value = float(hits @ (found / shown) / count)
    of_positive = (found / shown + _from_here(hits * wrong / shown**2)) / count
    of_negative = np.append(-_from_here(hits * found / shown**2) / count, 0.0)
    others = np.append(ranking.misses, ranking.between[-1])
    spread = count**2 * _mean_variance(of_positive, hits)
    return value, spread + ranking.negative**2 * _mean_variance(of_negative, others)


def _from_here(values: Floats) -> Floats:
    """Sums of each value and all after it."""
    return values[::-1].cumsum()[::-1]


def _mean_variance(values: Floats, counts: Ints) -> float:
    """Variance of the mean of values, float64 (K,), that occur `counts` times; 0 of a single one."""
    count = int(counts.sum())
    if count < 2:
        return 0.0
    centre = values @ counts / count
    return float(np.square(values - centre) @ counts / (count - 1) / count)
