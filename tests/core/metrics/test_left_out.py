"""Figures without each group: those of `left_out` against tables that are counted again without the group."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from tasks.core.metrics import classification, cluster, left_out
from tasks.core.metrics.left_out import ClassCounts

CLASSES = 4


def drawn() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions and groups of 130 images; a class is in a single group, and one nowhere."""
    generator = np.random.default_rng(0)
    groups = np.sort(generator.integers(0, 23, 130))
    labels = generator.integers(0, 2, 130)
    labels[groups == 7] = 2
    predicted = np.where(generator.random(130) < 0.7, labels, generator.integers(0, 2, 130))
    return labels, predicted, groups


def counted_again(figure: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    labels, predicted, groups = drawn()
    matrices = [
        classification.confusion(labels[chosen], predicted[chosen], CLASSES)
        for chosen in (groups != group for group in np.unique(groups))
    ]
    whole = figure(classification.confusion(labels, predicted, CLASSES))
    return cluster.jackknife(whole, np.stack(list(map(figure, matrices))), cluster.sizes_of(groups))


def test_f1_of_classes_is_that_of_tables_without_each_group() -> None:
    found, expected = left_out.of_f1(ClassCounts.of(*drawn(), CLASSES)), counted_again(classification.f1_of)
    np.testing.assert_allclose(found, expected)
    assert [end[2] for end in found] == [0, 1]
    assert np.isnan(found)[:, 3].all()


def test_means_are_those_of_scikit_learn_without_each_group() -> None:
    labels, predicted, groups = drawn()
    parts = [groups != group for group in np.unique(groups)]
    figures = (
        lambda rows: f1_score(labels[rows], predicted[rows], average="macro"),
        lambda rows: balanced_accuracy_score(labels[rows], predicted[rows]),
    )
    whole = np.array([figure(np.arange(130)) for figure in figures])
    each = np.array([[figure(rows) for figure in figures] for rows in parts])
    expected = cluster.jackknife(whole, each, cluster.sizes_of(groups))
    np.testing.assert_allclose(left_out.of_means(ClassCounts.of(*drawn(), CLASSES)), expected)


@pytest.mark.parametrize("side", ["recall", "precision"])
def test_rates_of_classes_are_those_of_their_images(side: str) -> None:
    labels, predicted, groups = drawn()
    counts = ClassCounts.of(labels, predicted, groups, CLASSES)
    if side == "precision":
        counts = replace(counts, labels=counts.predicted, predicted=counts.labels)
    of = labels if side == "recall" else predicted
    expected = [
        cluster.rate((labels == predicted)[of == each], groups[of == each]) for each in range(CLASSES)
    ]
    np.testing.assert_allclose(np.transpose(left_out.of_recall(counts)), expected)


def test_drawn_sums_of_many_groups_have_the_spread_of_those_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Normal sums have the same mean and variance; 0.08 is three standard errors of 10,000 draws."""
    sums = np.random.default_rng(1).gamma(2.0, size=(500, 3))
    few = cluster.resampled_sums(sums)
    monkeypatch.setattr(cluster, "MANY", 100)
    many = cluster.resampled_sums(sums)
    np.testing.assert_allclose(many.mean(axis=0), few.mean(axis=0), rtol=0.002)
    np.testing.assert_allclose(np.diag(np.cov(many.T)), np.diag(np.cov(few.T)), rtol=0.08)
