"""Slices against the rest; expected values from scipy, by enumeration, or by hand."""

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats

from tasks.core.metrics import slices


def outcomes(seed: int, images: int = 60, classes: int = 3):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    correct = generator.random(images) < np.array([0.9, 0.7, 0.5])[labels]
    return correct, labels, generator.random(images) < 0.3


def fisher(correct: np.ndarray, member: np.ndarray) -> float:
    table = [[np.sum(~correct & side), np.sum(correct & side)] for side in (member, ~member)]
    return float(stats.fisher_exact(table, alternative="greater").pvalue)


@pytest.mark.parametrize("seed", range(5))
def test_p_worse_of_one_class_is_fishers(seed: int) -> None:
    correct, labels, member = outcomes(seed, classes=1)
    assert slices.p_worse(correct, labels, member[None])[0] == pytest.approx(fisher(correct, member))


@pytest.mark.parametrize("seed", range(5))
def test_p_worse_of_several_classes_is_that_of_all_tables_with_these_margins(seed: int) -> None:
    """Each class's mistakes in the slice are hypergeometric; the sum over classes by enumeration."""
    correct, labels, member = outcomes(seed)
    observed = int((~correct & member).sum())
    first, second, third = (
        stats.hypergeom.pmf(
            range(20), *((chosen & (labels == c)).sum() for chosen in (labels >= 0, ~correct, member))
        )
        for c in range(3)
    )
    tables = product(range(20), repeat=3)
    expected = sum(first[a] * second[b] * third[c] for a, b, c in tables if a + b + c >= observed)
    assert slices.p_worse(correct, labels, member[None])[0] == pytest.approx(expected)


def test_a_slice_with_more_of_a_hard_class_is_no_worse() -> None:
    """Recall 100 % and 50 % on both sides; the slice has 40 images of the hard class, the rest 40 of 200."""
    labels = np.repeat([1, 0, 1], [40, 160, 40])
    member = np.arange(240) < 40
    correct = (labels == 0) | (np.arange(240) % 2 == 0)
    assert fisher(correct, member) < 1e-7
    assert slices.p_worse(correct, labels, member[None])[0] > 0.4
    assert slices.expected_accuracy(correct, labels, member) == correct[member].mean() == 0.5


def test_expected_accuracy_by_hand() -> None:
    """Three images of class 0 (rest: 1 of 2), one of class 1 (rest: 1 of 1): (3 * 0.5 + 1) / 4."""
    labels = np.array([0, 0, 0, 1, 2, 0, 0, 1])
    member = np.arange(8) < 5  # class 2 is not in the rest
    correct = np.array([False, False, True, False, False, True, False, True])
    assert slices.expected_accuracy(correct, labels, member) == pytest.approx(0.625)


def test_a_slice_without_a_class_of_the_rest_cannot_be_compared() -> None:
    labels = np.repeat([0, 1], 10)
    correct, member = labels == 0, np.array([labels == 1])
    assert np.isnan(slices.p_worse(correct, labels, member)).all()
    assert np.isnan(slices.p_worse(correct, labels, member, np.arange(20))).all()
    assert np.isnan(slices.expected_accuracy(correct, labels, member[0]))


def test_groups_change_places_whole() -> None:
    """Two of ten groups are the slice: p by all 45 pairs; the statistic of equal groups orders as the sum."""
    hits = np.array([2, 3, 9, 10, 8, 10, 9, 7, 10, 3])
    correct = (np.arange(10)[None] < hits[:, None]).ravel()
    groups, labels = np.repeat(np.arange(10), 10), np.zeros(100, int)
    member = groups < 2
    sums = np.array([hits[list(pair)].sum() for pair in combinations(range(10), 2)])
    expected = np.mean(sums <= hits[:2].sum())
    found = slices.p_worse(correct, labels, member[None], groups)[0]
    assert found == pytest.approx(expected, abs=0.005)
    assert slices.p_worse(correct, labels, member[None])[0] < 1e-5  # as if each image were by itself


def test_groups_that_are_on_both_sides_change_signs() -> None:
    """In each of ten groups the slice's five images are wrong and the others right: 1 of 1,024 signs."""
    member = np.arange(100) % 2 == 0
    correct, groups = ~member, np.repeat(np.arange(10), 10)
    found = slices.p_worse(correct, np.zeros(100, int), member[None], groups)[0]
    assert found == pytest.approx(1 / 1024, abs=0.001)
    assert slices.p_worse(correct, np.zeros(100, int), ~member[None], groups)[0] == 1.0


def test_groups_of_a_hard_class_are_no_worse() -> None:
    generator = np.random.default_rng(3)
    of_group = np.repeat([0, 1], 40)
    labels, groups = np.repeat(of_group, 5), np.repeat(np.arange(80), 5)
    correct = generator.random(400) < np.where(labels == 0, 0.98, 0.5)
    member = (groups >= 45) | (groups < 3)
    assert slices.p_worse(correct, labels, member[None], groups)[0] > 0.05
    assert fisher(correct, member) < 1e-6
