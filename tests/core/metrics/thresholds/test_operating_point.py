"""Thresholds that keep what they promise, on fresh draws; decisions and rates by hand and by scipy."""

import numpy as np
import pytest
from scipy import stats

from tasks.core.metrics.thresholds import operating_point
from tasks.core.metrics.thresholds.operating_point import OperatingPoint

DRAWS = 1000


@pytest.mark.parametrize(("least", "needed"), [(0.9, 29), (0.95, 59), (0.98, 149), (0.99, 299)])
def test_recall_needs_as_many_images_as_the_exact_bound_says(least: float, needed: int) -> None:
    """With n images and none missed, the bound is .05 ** (1/n): of 0.99, 299 are needed."""
    scores = np.random.default_rng(0).random(needed)
    promise = operating_point.recall_threshold(scores, least)
    assert (promise.kept, promise.threshold, promise.needed) == (True, scores.min(), needed)
    too_few = operating_point.recall_threshold(scores[:-1], least)
    assert not too_few.kept
    assert too_few.proven == pytest.approx(0.05 ** (1 / (needed - 1)))
    assert too_few.threshold == scores[:-1].min()


@pytest.mark.slow
@pytest.mark.parametrize(("least", "count"), [(0.9, 60), (0.95, 200), (0.99, 400), (0.5, 8)])
def test_promised_recall_is_kept_on_fresh_images_in_95_percent(least: float, count: int) -> None:
    """Scores are normal, so the recall on all new images is known; 1,000 validation sets.

    At most 5 % may fall below; 6.4 % is what 1,000 draws of 5 % stay below in 97.5 % of cases.
    """
    generator = np.random.default_rng(count)
    below = 0
    for _ in range(DRAWS):
        promise = operating_point.recall_threshold(generator.normal(size=count), least)
        assert promise.kept
        below += stats.norm.sf(promise.threshold) < least
    assert below / DRAWS <= 0.064


@pytest.mark.slow
def test_promised_recall_is_kept_on_fresh_test_images() -> None:
    """As a user sees it: 20,000 new images a draw. The plug-in threshold breaks it half of the time."""
    generator = np.random.default_rng(5)
    held, plug_in = 0, 0
    for _ in range(DRAWS):
        val, test = generator.beta(5, 2, 120), generator.beta(5, 2, 20_000)
        promise = operating_point.recall_threshold(val, 0.95)
        held += np.mean(test >= promise.threshold) >= 0.95
        plug_in += np.mean(test >= np.sort(val)[6]) >= 0.95  # 114 of 120 val images: 95 %
    assert held / DRAWS >= 0.936
    assert plug_in / DRAWS < 0.7


@pytest.mark.slow
def test_promised_precision_is_kept_on_fresh_images_in_95_percent() -> None:
    """Scores of the class are normal around 1, of others around -1; a fifth is of the class."""
    generator = np.random.default_rng(6)
    below, kept = 0, 0
    for _ in range(DRAWS):
        truth = generator.random(400) < 0.2
        scores = stats.norm.cdf(generator.normal(size=400) + np.where(truth, 1, -1))
        promise = operating_point.precision_threshold(truth, scores, 0.7)
        if not promise.kept:
            continue
        kept += 1
        cut = stats.norm.ppf(promise.threshold)
        right, wrong = 0.2 * stats.norm.sf(cut - 1), 0.8 * stats.norm.sf(cut + 1)
        below += right / (right + wrong) < 0.7
    assert kept > DRAWS / 2
    assert below / DRAWS <= 0.064


def test_unproven_recall_loses_no_image_that_the_most_probable_class_finds() -> None:
    """Two sure images prove nothing: 1/2 of two classes is used, not their lowest score."""
    promise = operating_point.recall_threshold(np.array([0.99, 0.999]), 0.95, unproven=0.5)
    assert (promise.kept, promise.threshold) == (False, 0.5)
    assert promise.proven == pytest.approx(0.05**0.5)


@pytest.mark.parametrize("scores", [np.array([]), np.full(50, -np.inf)])
def test_recall_without_images_has_no_threshold(scores: np.ndarray) -> None:
    promise = operating_point.recall_threshold(scores, 0.9)
    assert (promise.threshold, promise.kept) == (None, False)


def test_decide_by_thresholds_first_reached_wins_then_the_most_probable_other() -> None:
    point = OperatingPoint(thresholds=((2, 0.1), (0, 0.3)))
    probabilities = np.array(
        [[0.6, 0.3, 0.1], [0.6, 0.35, 0.05], [0.29, 0.31, 0.4], [0.25, 0.7, 0.05], [0.28, 0.66, 0.06]],
        np.float64,
    )
    assert point.decide(probabilities).tolist() == [2, 0, 2, 1, 1]
    assert OperatingPoint.of(point.record()) == point


def test_decide_with_a_threshold_for_every_class_falls_back_on_the_most_probable() -> None:
    point = OperatingPoint(thresholds=((0, 0.9), (1, 0.8)))
    assert point.decide(np.array([[0.6, 0.4], [0.15, 0.85], [0.3, 0.7]])).tolist() == [0, 1, 1]


def test_decide_a_float32_score_at_its_own_threshold_is_found() -> None:
    probabilities = np.random.default_rng(0).dirichlet([1, 1], 500).astype(np.float32)
    threshold = operating_point.recall_threshold(probabilities[:, 0].astype(np.float64), 0.9).threshold
    found = OperatingPoint(thresholds=((0, threshold),)).decide(probabilities) == 0
    assert found.sum() == np.sum(probabilities[:, 0].astype(np.float64) >= threshold)


def test_decide_by_costs_takes_the_lowest_expected_cost() -> None:
    """Missing class 1 costs 10, calling it falsely 1: it is predicted from 1/11 on."""
    point = OperatingPoint(costs=((0, 1), (10, 0)))
    assert point.decide(np.array([[0.92, 0.08], [0.9, 0.1], [0.2, 0.8]])).tolist() == [0, 1, 1]
    assert OperatingPoint.of(point.record()) == point


def test_decide_by_costs_among_equal_costs_takes_the_most_probable() -> None:
    costs = np.zeros((3, 3))
    costs[0, 1:], costs[1:, 0] = 10, 1
    point = OperatingPoint(costs=tuple(map(tuple, costs)))
    probabilities = np.random.default_rng(1).dirichlet([1, 1, 1], 300).astype(np.float32)
    expected = np.where(
        10 * probabilities[:, 0] > 1 - probabilities[:, 0], 0, 1 + probabilities[:, 1:].argmax(axis=1)
    )
    assert point.decide(probabilities).tolist() == expected.tolist()


def test_ordinal_costs_predict_the_median_grade() -> None:
    """With the distance of grades as cost, the lowest expected cost is at the median."""
    costs = np.abs(np.subtract.outer(np.arange(5), np.arange(5))).astype(float)
    point = OperatingPoint(costs=tuple(map(tuple, costs)))
    probabilities = np.random.default_rng(2).dirichlet(np.ones(5), 200)
    medians = (probabilities.cumsum(axis=1) < 0.5).sum(axis=1)
    assert point.decide(probabilities).tolist() == medians.tolist()


def test_rates_by_hand_and_exact_intervals_of_scipy() -> None:
    truth = np.repeat([True, False], [20, 80])
    predicted = np.concatenate([np.repeat([True, False], [18, 2]), np.repeat([True, False], [8, 72])])
    row = operating_point.rates(truth, predicted, prevalence=0.02)
    assert [row[name] for name in ("sensitivity", "specificity", "ppv", "npv")] == pytest.approx(
        [18 / 20, 72 / 80, 18 / 26, 72 / 74]
    )
    assert row["sensitivity_low"] == pytest.approx(stats.beta.ppf(0.025, 18, 3))
    assert row["sensitivity_high"] == pytest.approx(stats.beta.ppf(0.975, 19, 2))
    assert row["ppv_at_prevalence"] == pytest.approx(0.9 * 0.02 / (0.9 * 0.02 + 0.1 * 0.98))  # 15.5 %
    low, high = row["ppv_at_prevalence_low"], row["ppv_at_prevalence_high"]
    assert low < row["ppv_at_prevalence"] < high
    ends = [stats.beta.ppf(0.0125, 18, 3), stats.beta.ppf(0.0125, 72, 9)]
    assert low == pytest.approx(ends[0] * 0.02 / (ends[0] * 0.02 + (1 - ends[1]) * 0.98))


def test_rates_of_nothing_are_undefined() -> None:
    row = operating_point.rates(np.zeros(4, bool), np.zeros(4, bool), 0.1)
    assert np.isnan([row["sensitivity"], row["ppv"], row["ppv_at_prevalence"], row["sensitivity_low"]]).all()
    assert (row["specificity"], row["npv"]) == (1.0, 1.0)
