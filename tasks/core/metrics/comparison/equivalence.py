"""Equivalence of two models on the same images: is their difference proven to be smaller than a margin?

Sources: two one-sided tests, which accept if the interval lies within the margin: D. Schuirmann, Journal of
Pharmacokinetics and Biopharmaceutics 15, 1987. The score interval for a difference of paired proportions:
T. Tango, Statistics in Medicine 17, 1998. Unlike the bootstrap, it has a width without any disagreement:
0 of 200 images that differ prove no more than a difference below 1.9 points.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

QUANTILE = 1.959963984540054  # of the normal distribution, for 95 %: each one-sided test has 2.5 %


class Answer(StrEnum):
    """What a comparison proves.

    equivalent: the interval lies within the margin. different: it does not, and it excludes 0. open: neither.
    """

    equivalent = "equivalent"
    different = "different"
    open = "open"


@dataclass(frozen=True)
class Equivalence:
    """The difference of two accuracies on the same images.

    Args:
        difference: Accuracy of the first model minus that of the second, -1..1.
        low, high: The ends of its 95 % interval, -1..1.
        images: Number of images.
        margin: The largest difference that counts as none, above 0 and at most 1.
    """

    difference: float
    low: float
    high: float
    images: int
    margin: float

    @property
    def answer(self) -> Answer:
        """What the interval proves."""
        if -self.margin <= self.low and self.high <= self.margin:
            return Answer.equivalent
        return Answer.different if self.low > 0 or self.high < 0 else Answer.open

    @property
    def largest(self) -> float:
        """The largest difference that the interval allows, 0..1."""
        return max(abs(self.low), abs(self.high))


def compare(first: int, second: int, images: int, margin: float) -> Equivalence:
    """Compare two models by their outcomes.

    Args:
        first: Number of images that only the first model predicts correctly.
        second: Number of images that only the second model predicts correctly.
        images: Number of images, at least 1.
        margin: The largest difference that counts as none, above 0 and at most 1.
    """
    low, high = -_upper(second, first, images), _upper(first, second, images)
    return Equivalence((first - second) / images, low, high, images, margin)


def _upper(first: int, second: int, images: int) -> float:
    """The upper end: the difference from which the score statistic falls below -`QUANTILE`."""
    from scipy.optimize import brentq  # imported here: scipy takes 0.5 s

    estimate = (first - second) / images
    if estimate >= 1:
        return 1.0
    start = estimate + 1e-12  # at the estimate the statistic is 0, or 0 / 0 without any disagreement
    return float(brentq(lambda value: _score(first, second, images, value) + QUANTILE, start, 1 - 1e-12))


def _score(first: int, second: int, images: int, difference: float) -> float:
    """Tango's statistic of a hypothetical difference: approximately standard normal if it is the true one."""
    linear = (2 * images - first + second) * difference - first - second
    constant = -second * difference * (1 - difference)
    root = np.sqrt(max(0.0, linear**2 - 8 * images * constant))
    only_second = max(0.0, (root - linear) / (4 * images))  # the most likely share under the hypothesis
    variance = images * (2 * only_second + difference * (1 - difference))
    return float((first - second - images * difference) / np.sqrt(variance))
