"""Temperature scaling: one number by which logits are divided, so that a probability means what it says.

Sources: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; targets a little below 1:
J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
"""

import numpy as np
from numpy.typing import NDArray

COLDEST, HOTTEST = 0.05, 20.0  # temperatures between which the fit looks


def fit(labels: NDArray[np.integer], logits: NDArray[np.floating]) -> float:
    """The temperature that gives held-out images the least log loss: above 1 for an over-confident model.

    The target of each label is (N + 1) / (N + 2), the rule of succession: N images that are all right don't
    prove that the next one is, and without this the best temperature would be as cold as can be.

    Args:
        labels: Integers (N,), of images that training has not seen, and that are not the test images.
        logits: Floats (N, C); logarithms of probabilities serve as well.

    Returns:
        0.05..20; 1 leaves the probabilities as they are.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    values = logits - logits.max(axis=1, keepdims=True)
    values = values.astype(np.float64)
    count, classes = values.shape
    spread = 1 / (count + 2)
    own = values[np.arange(count), labels]
    others = (values.sum(axis=1) - own) / max(classes - 1, 1)
    wanted = (1 - spread) * own + spread * others

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(values * scale, axis=1) - wanted * scale))

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))
