"""Which of several candidates is the best, by what they predict for the same images."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

LEAST_PROBABILITY = 1e-7  # of the log loss, so that one certain mistake does not decide alone
Probabilities = NDArray[np.float32]


def log_losses(probabilities: Probabilities, labels: NDArray[np.int32]) -> NDArray[np.float64]:
    """The cross-entropy of each image in nats, float64 (N,).

    Args:
        probabilities: float32 (N, classes).
        labels: int32 (N,).
    """
    of_labels = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return np.asarray(-np.log(np.maximum(of_labels, LEAST_PROBABILITY)), np.float64)


def best(correct: Mapping[str, NDArray[np.bool_]], log_losses: Mapping[str, float]) -> str:
    """The candidate with the lowest log loss among those whose accuracy is near the highest.

    Near means within one standard error of the paired difference (the one-standard-error rule: L. Breiman et
    al., "Classification and Regression Trees", 1984). On a few hundred images accuracies within some points
    of each other are noise, and log loss, which sees every probability, tells the models apart better.

    Args:
        correct: By candidate, whether each prediction is correct, bool (N,), of the same images.
        log_losses: By candidate, the mean log loss on these images, nats.

    Returns:
        The name of the best one; of equal ones the first.

    >>> best({"a": np.array([1, 1, 1, 0], bool), "b": np.array([0, 0, 1, 1], bool)}, {"a": 0.4, "b": 0.3})
    'b'
    """
    leader = max(correct, key=lambda name: float(correct[name].mean()))
    near = [name for name in correct if _is_near(correct[name], correct[leader])]
    return min(near, key=lambda name: log_losses[name])


def _is_near(candidate: NDArray[np.bool_], leader: NDArray[np.bool_]) -> bool:
    differences = leader.astype(np.float64) - candidate
    return bool(differences.mean() <= differences.std() / np.sqrt(len(differences)))
