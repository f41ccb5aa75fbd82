import numpy as np
import pytest
from scipy.special import log_softmax

from tasks.core.metrics.labels import matrix_scaling

CLASSES = 4


def drawn(logarithms, seed: int):
    """Labels by the probabilities."""
    uniform = np.random.default_rng(seed).random((len(logarithms), 1))
    return (uniform > np.exp(logarithms).cumsum(axis=1)).sum(axis=1).clip(max=CLASSES - 1)


def test_map_that_made_the_labels_is_found() -> None:
    generator = np.random.default_rng(0)
    reported = log_softmax(generator.normal(size=(40_000, CLASSES)) * 2, axis=1)
    matrix = np.eye(CLASSES) + generator.normal(size=(CLASSES, CLASSES)) * 0.2
    true = log_softmax((reported - reported.mean(axis=1, keepdims=True)) @ matrix + [0, 0.5, 0, -0.5], axis=1)
    corrected = matrix_scaling.fit(drawn(true, 1)[:20_000], reported[:20_000])(reported[20_000:])
    before, after = (
        np.abs(np.exp(each) - np.exp(true[20_000:])).mean() for each in (reported[20_000:], corrected)
    )
    assert after < 0.15 * before
    assert np.exp(corrected).sum(axis=1) == pytest.approx(1)


def test_calibrated_probabilities_stay_as_they_are() -> None:
    reported = log_softmax(np.random.default_rng(2).normal(size=(20_000, CLASSES)) * 2, axis=1)
    corrected = matrix_scaling.fit(drawn(reported, 3), reported)(reported)
    assert np.abs(np.exp(corrected) - np.exp(reported)).mean() < 0.01


def test_few_images_change_hardly_anything() -> None:
    reported = log_softmax(np.random.default_rng(4).normal(size=(5, CLASSES)), axis=1)
    corrected = matrix_scaling.fit(np.array([0, 1, 2, 3, 0]), reported)(reported)
    assert np.abs(np.exp(corrected) - np.exp(reported)).max() < 0.1
