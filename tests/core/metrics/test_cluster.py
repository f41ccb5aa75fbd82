"""Intervals and the paired test for groups of images; expected values by enumeration, scipy or by hand."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from tasks.core.metrics import calibration, classification, cluster
from tasks.core.metrics.comparison import paired
from tasks.core.metrics.declared import declarations


def test_flip_p_value_is_that_of_all_choices_of_signs() -> None:
    differences = np.array([5.0, -2, 7, 1, 0, 3, -1])
    sums = [np.dot(signs, differences) for signs in product((1, -1), repeat=7)]
    expected = np.mean(np.array(sums) >= differences.sum())
    assert cluster.flip_p_value(differences) == pytest.approx(expected)


def test_flip_p_value_of_single_images_is_mcnemars() -> None:
    differences = np.repeat([1.0, -1.0, 0.0], [60, 40, 500])
    assert cluster.flip_p_value(differences) == pytest.approx(stats.binom.sf(59, 100, 0.5))


def test_rate_of_groups_of_one_image_is_wilsons_with_t() -> None:
    """Without groups the variance is p (1 - p) / (n - 1), so the effective size is n - 1."""
    correct, t = np.arange(100) < 80, stats.t.ppf(0.975, 99)
    low, high = cluster.rate(correct, np.arange(100))
    centre = (0.8 + t**2 / 198) / (1 + t**2 / 99)
    half_width = t / (1 + t**2 / 99) * np.sqrt(0.16 / 99 + t**2 / (4 * 99**2))
    assert (low, high) == pytest.approx((centre - half_width, centre + half_width), abs=2e-4)


def test_rate_of_identical_images_has_the_width_of_the_groups() -> None:
    correct, groups = np.repeat(np.arange(20) < 15, 30), np.repeat(np.arange(20), 30)
    by_groups, one_each = cluster.rate(correct, groups), cluster.rate(np.arange(20) < 15, np.arange(20))
    assert by_groups == pytest.approx(one_each)
    low, high = cluster.rate(np.ones(600, bool), groups)
    assert (high, low < 0.87) == (1.0, True)  # 20 groups without a mistake are no proof of 99 %


def test_mean_is_the_jackknife_of_scipys_resampled_means() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(12), 7)
    values = generator.normal(size=12)[groups] + generator.normal(size=84)
    left_out = [values[groups != group].mean() for group in range(12)]
    spread = np.sqrt(11 / 12 * np.square(left_out - values.mean()).sum())
    low, high = cluster.mean(values, groups)
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 11) * spread)


def test_score_and_classes_with_groups_are_wider_than_without() -> None:
    generator = np.random.default_rng(1)
    labels, groups = np.repeat(generator.integers(0, 7, 40), 20), np.repeat(np.arange(40), 20)
    logits = np.repeat(generator.normal(size=(40, 7)), 20, axis=0) + 0.1 * generator.normal(size=(800, 7))
    logits[np.arange(800), labels] += 1.5
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    alone = declarations.score(labels, probabilities)
    together = declarations.score(labels, probabilities, groups=groups)
    for name, estimate in together.items():
        assert estimate.value == alone[name].value
        assert estimate.method == "cluster"
        assert 2 < (estimate.high - estimate.low) / (alone[name].high - alone[name].low) < 8, name
    names, predicted = tuple("abcdefg"), probabilities.argmax(axis=1)
    table, plain = (classification.per_class(labels, predicted, names, of) for of in (groups, None))
    wider = (table["recall_high"] - table["recall_low"]) > (plain["recall_high"] - plain["recall_low"])
    assert wider.all()
    assert ((table["f1_low"] <= table["f1"]) & (table["f1"] <= table["f1_high"])).all()
    correct, confidence = predicted == labels, probabilities.max(axis=1)
    ece = [calibration.expected_error(correct, confidence, of).estimate for of in (groups, None)]
    assert ece[0].high - ece[0].low > ece[1].high - ece[1].low


def test_class_in_a_single_group_has_no_known_f1() -> None:
    labels, groups = np.repeat([0, 0, 1], 10), np.repeat([0, 1, 2], 10)
    table = classification.per_class(labels, labels, ("ant", "bee"), groups)
    assert table.loc[1, ["recall_low", "recall_high", "f1_low", "f1_high"]].tolist() == [0, 1, 0, 1]


def test_compare_outcomes_of_groups_of_one_image_agrees_with_that_of_images() -> None:
    correct = np.repeat([True, True, False, False], [800, 70, 40, 90])
    correct_before = np.repeat([True, False, True, False], [800, 70, 40, 90])
    images = paired.compare_outcomes(correct, correct_before)
    groups = paired.compare_outcomes(correct, correct_before, np.arange(1000))
    assert groups.p_value == pytest.approx(images.p_value)
    assert (groups.low, groups.high) == pytest.approx((images.low, images.high), abs=0.002)
    assert (groups.groups, groups.groups_differ) == (1000, 110)


def test_groups_of_images_alike_prove_no_more_than_their_number() -> None:
    """5 groups of 20 images each won: 100 images are won, but p is 1 in 32."""
    groups = np.repeat(np.arange(12), 20)
    correct, correct_before = groups < 9, groups < 4
    outcome = paired.compare_outcomes(correct, correct_before, groups)
    assert outcome.p_better == pytest.approx(1 / 32)
    assert not outcome.better_at(0.025)
    assert paired.compare_outcomes(correct, correct_before).better


def test_p_not_worse_is_tangos_score_test() -> None:
    """By the restricted maximum of the likelihood, found by a search over the share of images lost."""
    won, lost, count, margin = 12, 20, 400, 0.05
    correct = np.repeat([True, False, True], [won, lost, count - won - lost])
    correct_before = np.repeat([False, True, True], [won, lost, count - won - lost])
    shares = np.linspace(margin + 1e-6, 0.3, 200_001)  # of images lost; margin fewer are won
    likelihood = (
        lost * np.log(shares)
        + won * np.log(shares - margin)
        + (count - won - lost) * np.log(1 - 2 * shares + margin)
    )
    share = shares[likelihood.argmax()]
    z = (won - lost + count * margin) / np.sqrt(count * (2 * share - margin - margin**2))
    assert paired.p_not_worse(correct, correct_before, margin) == pytest.approx(stats.norm.sf(z), rel=1e-3)


@pytest.mark.slow
def test_intervals_of_groups_cover_the_truth() -> None:
    """50 groups of 20 with a correlation of 0.3, 600 draws: 95 % +- 2.7 (three standard errors)."""
    generator, hits = np.random.default_rng(2), np.zeros(2)
    groups = np.repeat(np.arange(50), 20)
    for _ in range(600):
        correct = generator.random(1000) < generator.beta(1.75, 0.583, 50)[groups]  # 75 %
        low, high = cluster.rate(correct, groups)
        shares = generator.dirichlet(np.array([0.1, 0.05, 0.85]) * 2.333, 50)[groups]
        draw = generator.random(1000)
        sums = cluster.totals(groups, (draw < shares[:, 0]) * 1.0 - (draw > 1 - shares[:, 1]))
        ends = cluster.difference(sums, np.full(50, 20.0))
        hits += (low <= 0.75 <= high, ends[0] <= 0.05 <= ends[1])
    assert hits / 600 == pytest.approx([0.95, 0.95], abs=0.027)
