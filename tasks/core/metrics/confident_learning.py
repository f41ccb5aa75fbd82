"""Confident learning: which labels are likely wrong."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics.intervals import Floats, Ints


def confident_joint(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Ints:
    """Counts of (given label, class that the model is confident of).

    A model is confident of a class if it gives it at least the mean probability that images of this label
    get for it; of several such classes, the most probable counts, and an image with none counts nowhere.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), of models that have not seen the images.

    Returns:
        int64 (C, C).
    """
    classes = probabilities.shape[1]
    values = probabilities.astype(np.float64)
    confident = values >= _thresholds(labels, values) - 1e-6  # float32 probabilities: equal is equal
    counted = confident.any(axis=1)
    best = np.where(confident, values, -1).argmax(axis=1)
    joint = np.zeros((classes, classes), np.int64)
    np.add.at(joint, (labels[counted], best[counted]), 1)
    return joint


def find_issues(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """Rows whose label is likely wrong, the least likely label first.

    Of each class as many as the confident joint has off its diagonal, scaled to all images of the class.
    """
    joint = confident_joint(labels, probabilities)
    wrong = 1 - np.diagonal(joint) / np.maximum(joint.sum(axis=1), 1)
    own = probabilities[np.arange(len(labels)), labels]
    chosen: list[NDArray[np.int64]] = [
        _least(np.flatnonzero(labels == label), own, share) if joint[label].sum() else np.empty(0, np.int64)
        for label, share in enumerate(wrong)
    ]
    rows = np.concatenate(chosen)
    return rows[np.argsort(own[rows], kind="stable")]


def _thresholds(labels: NDArray[np.integer], probabilities: Floats) -> Floats:
    """Mean probability that the images of each label get for it; infinite for a class without images."""
    count = np.bincount(labels, minlength=probabilities.shape[1])
    own = probabilities[np.arange(len(labels)), labels]
    total = np.bincount(labels, weights=own, minlength=probabilities.shape[1])
    return np.where(count > 0, total / np.maximum(count, 1), np.inf)


def _least(rows: NDArray[np.int64], own: NDArray[np.floating], share: float) -> NDArray[np.int64]:
    return rows[np.argsort(own[rows], kind="stable")][: round(share * len(rows))]
