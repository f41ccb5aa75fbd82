"""Matrix scaling: corrects probabilities by an affine map of their logarithms.

The method is that of C. Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), with the penalty
of M. Kull et al., "Beyond temperature scaling" (NeurIPS 2019). The map corrects a classifier that takes birds
for aeroplanes more often than it says, which a temperature cannot.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import blocks
from tasks.core.metrics.intervals import Floats

PENALTY = 10.0  # on the squares of what differs from no correction: with few images there is hardly any
ITERATIONS = 40
Map = Callable[[Floats], Floats]


def fit(labels: NDArray[np.integer], logarithms: Floats) -> Map:
    """The map with the highest likelihood of the labels, less the penalty.

    Args:
        labels: Integers (N,), 0..C-1.
        logarithms: Of probabilities, float64 (N, C).

    Returns:
        From logarithms of probabilities (n, C) to corrected ones, float64 (n, C).
    """
    from scipy.optimize import minimize  # imported here: a reused run needs none of it

    images, classes = logarithms.shape
    rows, unchanged = np.arange(images), np.vstack([np.eye(classes), np.zeros(classes)])
    values = _with_constant(logarithms)

    def loss(flat: Floats) -> tuple[float, Floats]:
        change = flat.reshape(unchanged.shape)
        corrected = _normalized(values @ (unchanged + change))
        misfit = -corrected[rows, labels].sum()
        slope = np.exp(corrected)
        slope[rows, labels] -= 1
        return misfit + PENALTY * np.sum(change**2), (values.T @ slope + 2 * PENALTY * change).ravel()

    start, options = np.zeros(unchanged.size), {"maxiter": ITERATIONS}
    change = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x.reshape(unchanged.shape)
    return lambda others: _normalized(_with_constant(others) @ (unchanged + change))


def _normalized(scores: Floats) -> Floats:
    """Logarithms of the probabilities that have these scores."""
    scores = scores - blocks.row_maxima(scores)
    return np.asarray(scores - np.log(blocks.row_sums(np.exp(scores))))


def _with_constant(logarithms: Floats) -> Floats:
    centred = logarithms - logarithms.mean(axis=1, keepdims=True)
    return np.hstack([centred, np.ones((len(centred), 1))])
