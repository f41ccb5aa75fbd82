"""P-values of several tests that share one error rate."""

import numpy as np

from tasks.core.metrics.intervals import Floats


def holm(p_values: Floats) -> Floats:
    """P-values corrected for looking at all of them (S. Holm, Scandinavian Journal of Statistics 6, 1979).

    Args:
        p_values: float64 (K,), 0..1; NaN ones are not looked at.

    Returns:
        float64 (K,), 0..1: a corrected value is below a rate if Holm's method rejects at that rate.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).round(3).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    looked = np.flatnonzero(~np.isnan(p_values))
    order = looked[np.argsort(p_values[looked], kind="stable")]
    adjusted = np.full(len(p_values), np.nan)
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return adjusted
