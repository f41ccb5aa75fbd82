"""Labels that were made wrong on purpose, with the probabilities of a calibrated model."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from tasks.core.metrics.labels import confident_learning, label_noise


def calibrated(images: int, classes: int, skill: float, seed: int):
    """Probabilities of a model of some skill, and true labels that are drawn from them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(images, classes)) * skill
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    drawn = generator.random((images, 1)) > probabilities.cumsum(axis=1)
    return drawn.sum(axis=1).clip(max=classes - 1), probabilities.astype(np.float32)


def spoilt(truth, classes: int, share: float, pairs: bool, seed: int):
    """Labels of which a share is wrong, evenly or as one other class of each class."""
    generator = np.random.default_rng([seed, 1])
    wrong = generator.random(len(truth)) < share
    steps = 1 if pairs else generator.integers(1, classes, len(truth))
    return np.where(wrong, (truth + steps) % classes, truth), wrong


@pytest.mark.parametrize("skill", [3.0, 6.0, 12.0])
def test_mistakes_of_a_model_are_no_noise(skill: float) -> None:
    """A confident joint lists some of them, since it cannot tell."""
    truth, probabilities = calibrated(3000, 7, skill, 0)
    noise = label_noise.fit(truth, probabilities)
    assert noise.wrong(truth, probabilities).sum() < 0.003 * len(truth)
    assert len(confident_learning.find_issues(truth, probabilities)) > 20
    assert noise.temperature == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("share", [0.03, 0.1])
def test_expected_number_is_that_of_the_wrong_labels(share: float, pairs: bool) -> None:
    truth, probabilities = calibrated(4000, 5, 8.0, 1)
    labels, wrong = spoilt(truth, 5, share, pairs, 1)
    estimated = label_noise.fit(labels, probabilities).wrong(labels, probabilities)
    assert estimated.sum() == pytest.approx(wrong.sum(), rel=0.2)
    listed = estimated >= 0.1
    assert estimated[listed].mean() == pytest.approx(wrong[listed].mean(), abs=0.08)


def test_pairs_of_classes_that_are_mixed_up_come_first() -> None:
    truth, probabilities = calibrated(4000, 5, 6.0, 2)
    labels, wrong = spoilt(truth, 5, 0.05, pairs=True, seed=2)
    estimated = label_noise.fit(labels, probabilities).wrong(labels, probabilities)
    by_probability = 1 - probabilities[np.arange(len(labels)), labels]
    better = average_precision_score(wrong, estimated) - average_precision_score(wrong, by_probability)
    assert better > 0.03


def test_even_noise_ranks_as_the_probability_of_the_label() -> None:
    truth, probabilities = calibrated(4000, 5, 8.0, 3)
    labels, wrong = spoilt(truth, 5, 0.05, pairs=False, seed=3)
    estimated = label_noise.fit(labels, probabilities).wrong(labels, probabilities)
    by_probability = 1 - probabilities[np.arange(len(labels)), labels]
    found = average_precision_score(wrong, estimated)
    assert found > average_precision_score(wrong, by_probability) - 0.02


def test_wrong_small_example_matches_hand_computation() -> None:
    """Label 0 where the model says 0.2: 0.9 * 0.2 if it is right, 0.3 * 0.8 if it is wrong."""
    noise = label_noise.LabelNoise(1.0, np.array([[0.9, 0.3], [0.1, 0.7]]))
    found = noise.wrong(np.array([0]), np.array([[0.2, 0.8]]))
    assert found == pytest.approx([0.24 / (0.18 + 0.24)])


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_few_images_and_absent_classes_give_probabilities(images: int) -> None:
    labels = np.zeros(images, np.int64)
    probabilities = np.eye(3, dtype=np.float32)[np.arange(images) % 3]
    found = label_noise.fit(labels, probabilities).wrong(labels, probabilities)
    assert np.isfinite(found).all()
    assert ((found >= 0) & (found <= 1)).all()


def too_sure(probabilities):
    """Of a model that gives class 1 too little where class 0 is probable, and class 3 where class 2 is."""
    logarithms = np.log(probabilities.astype(np.float64))
    above = (logarithms - logarithms.mean(axis=1, keepdims=True)).clip(min=0)
    for first in (0, 2):
        logarithms[:, first + 1] -= 0.5 * above[:, first]
    reported = np.exp(logarithms - logarithms.max(axis=1, keepdims=True))
    return (reported / reported.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pairs_that_a_model_mixes_up_more_often_than_it_says_are_no_noise(seed: int) -> None:
    """62 to 76 labels were said to be wrong before the probabilities were corrected."""
    truth, probabilities = calibrated(12_000, 6, 4.0, seed)
    reported = too_sure(probabilities)
    estimated = label_noise.fit(truth, reported).wrong(truth, reported)
    assert estimated.sum() < 5


@pytest.mark.parametrize("share", [0.05, 0.1])
def test_wrong_labels_of_pairs_are_found_though_the_model_mixes_them_up(share: float) -> None:
    truth, probabilities = calibrated(12_000, 6, 4.0, 3)
    reported = too_sure(probabilities)
    labels, wrong = spoilt(truth, 6, share, pairs=True, seed=3)
    estimated = label_noise.fit(labels, reported).wrong(labels, reported)
    assert estimated.sum() == pytest.approx(wrong.sum(), rel=0.3)


@pytest.mark.parametrize("wrong", [0, 9])
def test_wrong_labels_are_found_where_probabilities_are_too_mild(wrong: int) -> None:
    """The likelihood has a second maximum at no noise, which a search from one start stays at."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 150)
    logits = (6 * np.eye(3)[truth] + generator.normal(0, 1.5, (150, 3))) / 4
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.where(np.arange(150) < wrong, (truth + 1) % 3, truth)
    found = label_noise.fit(labels, probabilities).wrong(labels, probabilities)
    assert found.sum() == pytest.approx(wrong, abs=0.5)
    assert (found[:wrong] > 0.5).all()
