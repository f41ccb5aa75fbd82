"""Temperature scaling: one number divides the logits, so that confidence agrees with accuracy.

Sources: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; targets slightly below 1:
J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999.
"""

import numpy as np
from numpy.typing import NDArray

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # limits of the search


def fit(labels: NDArray[np.integer], logits: NDArray[np.floating]) -> float:
    """The temperature with the lowest log loss on held-out images; above 1 for an over-confident model.

    The target of each label is (N + 1) / (N + 2), the rule of succession: N correct images do not prove that
    the next one is correct. With a target of 1, the best temperature of a model without mistakes would be the
    lower limit.

    Args:
        labels: Integers (N,), 0..C-1, of images that are neither training nor test images.
        logits: Floats (N, C); logarithms of probabilities work too.

    Returns:
        0.05..20; 1 leaves the probabilities unchanged.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    values = logits - logits.max(axis=1, keepdims=True)
    values = values.astype(np.float64)
    count, classes = values.shape
    smoothing = 1 / (count + 2)
    label_logit = values[np.arange(count), labels]
    other_logits = (values.sum(axis=1) - label_logit) / max(classes - 1, 1)
    target_logit = (1 - smoothing) * label_logit + smoothing * other_logits

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        return float(np.mean(logsumexp(values * scale, axis=1) - target_logit * scale))

    result = minimize_scalar(
        loss, bounds=(np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)), method="bounded"
    )
    return float(np.exp(result.x))
