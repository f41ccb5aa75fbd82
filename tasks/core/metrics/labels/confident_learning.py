"""Confident learning: find the labels that are likely wrong.

Source: C. Northcutt, L. Jiang, I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 70, 2021: the confident joint is in its section 3.1, "prune by class" in section 3.2.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import blocks
from tasks.core.metrics.intervals import Floats, Ints


def confident_joint(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Ints:
    """Counts of (given label, class that the model is confident of).

    A model is confident of a class if the class gets at least the mean probability that the images with this
    label get for it. Among several such classes the most probable one counts. An image without such a class
    is not counted.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1, of models that were not trained on the images.

    Returns:
        int64 (C, C).
    """
    classes = probabilities.shape[1]
    least = _thresholds(labels, probabilities) - 1e-6  # 1e-6: float32 rounding
    joint = np.zeros((classes, classes), np.int64)
    for part in blocks.rows(probabilities):
        values = probabilities[part]
        confident = values >= least
        counted = confident.any(axis=1)
        confident_class = np.where(confident, values, -1).argmax(axis=1)
        np.add.at(joint, (labels[part][counted], confident_class[counted]), 1)
    return joint


def find_issues(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Rows whose label is likely wrong, least likely label first.

    The number of rows of a class is the class's off-diagonal share of the confident joint, times the number
    of images of the class.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1, of models that were not trained on the images.

    Returns:
        int64 (K,), row numbers 0..N-1.
    """
    joint = confident_joint(labels, probabilities)
    issue_shares = 1 - np.diagonal(joint) / np.maximum(joint.sum(axis=1), 1)
    label_probability = probabilities[np.arange(len(labels)), labels]
    issues: list[NDArray[np.int64]] = [
        _least_likely(np.flatnonzero(labels == label), label_probability, share)
        if joint[label].sum()
        else np.empty(0, np.int64)
        for label, share in enumerate(issue_shares)
    ]
    rows = np.concatenate(issues)
    return rows[np.argsort(label_probability[rows], kind="stable")]


def _thresholds(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Floats:
    """Mean probability of the label over the images of each label, float64 (C,); inf without images."""
    count = np.bincount(labels, minlength=probabilities.shape[1])
    label_probability = probabilities[np.arange(len(labels)), labels]
    total = np.bincount(labels, weights=label_probability, minlength=probabilities.shape[1])
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def _least_likely(
    rows: NDArray[np.int64], label_probability: NDArray[np.floating], share: float
) -> NDArray[np.int64]:
    """The share of the rows with the lowest probability of their label."""
    return rows[np.argsort(label_probability[rows], kind="stable")][: round(share * len(rows))]
