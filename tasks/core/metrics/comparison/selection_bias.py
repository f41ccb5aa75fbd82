"""How much too good a model's accuracy looks on the images that chose it.

Source of the correction: H. Zhong, R. Prentice, "Bias-reduced estimators and confidence intervals for odds
ratios in genome-wide association studies", Biostatistics 9 (2008): the most likely difference, given that the
observed one passed its test.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import cluster, intervals
from tasks.core.metrics.intervals import Ints


def luck(difference: float, error: float, level: float, null: float = 0.0) -> float:
    """The part of a promoted model's accuracy that the choice explains, 0..1.

    Half of the excess of the difference over its most likely true value: the other half is bad luck of the
    model that was replaced.

    Args:
        difference: Accuracy of the new model minus the accuracy of the one before.
        error: Its standard error, above 0.
        level: The one-sided level of the test that it passed.
        null: The difference that the test refuted; the true one is taken to be no smaller.
    """
    from scipy.optimize import brentq
    from scipy.special import log_ndtr, ndtri

    threshold = null - ndtri(level) * error

    def excess(true: float) -> float:
        """Mean observed difference of those that pass, minus the observed one."""
        standard = (threshold - true) / error
        hazard = np.exp(-(standard**2) / 2 - np.log(2 * np.pi) / 2 - log_ndtr(-standard))
        return float(true + error * hazard - difference)

    if difference <= null:
        return 0.0
    likely = null if excess(null) >= 0 else float(brentq(excess, null, difference))
    return (difference - likely) / 2


def joint_range(correct: NDArray[np.bool_], groups: Ints | None, models: int) -> tuple[float, float]:
    """The interval of an accuracy that holds for whichever of several models was chosen.

    By Bonferroni's method all models share the error probability of 5 %.

    Args:
        correct: bool (N,), of the chosen model.
        groups: int64 (N,), which images belong together; None if each is by itself.
        models: How many models were judged on these images, 1 or more.
    """
    level = 1 - (1 - intervals.LEVEL) / models
    if groups is not None:
        return cluster.rate(correct, groups, level)
    low, high = intervals.wilson(np.asarray(correct.sum()), np.asarray(len(correct)), level)
    return float(low), float(high)
