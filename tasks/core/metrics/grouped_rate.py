"""The interval of a rate over images that belong together in groups, such as the photos of one patient.

Wilson's interval for as many images as the groups are worth: the effective sample size follows from the
variance of the ratio estimator over groups, with the quantile of t for few groups (E. L. Korn, B. I.
Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from
survey data", Survey Methodology 24, 1998; with Wilson's interval: N. Dean, M. Pagano, Journal of Survey
Statistics and Methodology 3, 2015).
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import intervals


def effective_images(correct: NDArray[np.bool_], groups: NDArray[np.integer] | None) -> float:
    """How many independent images tell as much about the rate; 1..N.

    Args:
        correct: bool (N,), N > 0.
        groups: Integers (N,), the group of each image; None if each image is alone.
    """
    count = len(correct)
    if groups is None or len(np.unique(groups)) == count:
        return float(count)
    codes = np.unique(groups, return_inverse=True)[1]
    number, rate = int(codes.max()) + 1, float(correct.mean())
    if number == 1 or rate in (0.0, 1.0):
        return float(number)  # nothing varies: a group is worth one image
    residuals = np.bincount(codes, correct - rate)
    variance = number / (number - 1) * float((residuals**2).sum()) / count**2
    from scipy.stats import t  # imported here: scipy takes 0.5 s

    narrow, wide = t.ppf(0.5 + intervals.LEVEL / 2, (count - 1, number - 1))
    worth = rate * (1 - rate) / variance * (narrow / wide) ** 2 if variance else float(count)
    return float(np.clip(worth, 1.0, count))


def interval(correct: NDArray[np.bool_], groups: NDArray[np.integer] | None = None) -> tuple[float, float]:
    """The 95 % interval of the share of correct images, 0..1; see the module. Arguments as above."""
    worth = effective_images(correct, groups)
    low, high = intervals.wilson(np.array(correct.mean() * worth), np.array(worth))
    return float(low), float(high)
