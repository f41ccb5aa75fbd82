"""Intervals of a rate over groups: by hand, and their coverage."""

import numpy as np
import pytest

from tasks.core.metrics import grouped_rate, intervals


def test_images_that_are_alone_have_wilsons_interval() -> None:
    correct = np.arange(50) < 40
    low, high = intervals.wilson(np.array(40), np.array(50))
    assert grouped_rate.interval(correct) == (pytest.approx(low), pytest.approx(high))
    assert grouped_rate.interval(correct, np.arange(50)) == (pytest.approx(low), pytest.approx(high))


def test_groups_of_copies_are_worth_one_image_each() -> None:
    """10 groups of 20, 8 of them right: the variance 10/9 * (8 * 4^2 + 2 * 16^2) / 200^2 = 0.01778 is that of
    0.16 / 0.01778 = 9 images; with t of 199 and 9 degrees of freedom, 9 * (1.972 / 2.262)^2 = 6.84."""
    correct = np.repeat(np.arange(10) < 8, 20)
    assert grouped_rate.effective_images(correct, np.arange(200) // 20) == pytest.approx(6.84, abs=0.01)


def test_without_a_mistake_a_group_counts_once() -> None:
    assert grouped_rate.effective_images(np.ones(30, bool), np.arange(30) // 10) == 3
    assert grouped_rate.effective_images(np.arange(30) > 3, np.zeros(30, int)) == 1


def test_interval_covers_the_rate_of_groups_that_differ() -> None:
    generator, hits = np.random.default_rng(0), 0
    for _ in range(400):
        rates = generator.beta(4, 1, 25)  # mean 0.8
        correct = generator.random((25, 12)) < rates[:, None]
        low, high = grouped_rate.interval(correct.ravel(), np.arange(300) // 12)
        hits += low <= 0.8 <= high
    assert 0.92 <= hits / 400 <= 0.98
