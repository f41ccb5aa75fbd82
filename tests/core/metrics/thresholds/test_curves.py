"""Curves and areas against scikit-learn, brute force and a plain bootstrap of images."""

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from tasks.core.metrics.thresholds import curves, ranking
from tasks.core.metrics.thresholds.ranking import Ranking


def drawn(seed: int, count: int = 400, share: float = 0.2, gap: float = 1.5, digits: int = 2):
    """Labels, and scores 0..1 that are rounded so that many are equal."""
    generator = np.random.default_rng(seed)
    truth = generator.random(count) < share
    return truth, np.round(1 / (1 + np.exp(-generator.normal(size=count) - gap * truth)), digits)


@pytest.mark.parametrize("seed", range(5))
def test_areas_are_those_of_scikit_learn(seed: int) -> None:
    truth, scores = drawn(seed)
    assert curves.roc_auc(Ranking.of(truth, scores)).value == pytest.approx(roc_auc_score(truth, scores))
    assert curves.average_precision(Ranking.of(truth, scores)).value == pytest.approx(
        average_precision_score(truth, scores)
    )


def test_delong_worked_example() -> None:
    """By hand: 3 images of the class, 4 others, the pairs compared one by one.

    Scores of the class .9 .6 .4, of others .7 .4 .3 .1. Pairs in order (a tie counts 1/2): .9 wins 4 of 4; .6
    wins 3; .4 wins 2 and ties 1: 2.5. The area is (4 + 3 + 2.5) / 12. Shares by image of the class: 1, .75,
    .625, whose variance is .0364583; by other image: 1/3, 2.5/3, 1, 1, whose variance is .0995370.
    """
    area, variance = ranking.delong(
        Ranking.of(np.arange(7) < 3, np.array([0.9, 0.6, 0.4, 0.7, 0.4, 0.3, 0.1]))
    )
    assert area == pytest.approx(9.5 / 12)
    assert variance == pytest.approx(0.03645833 / 3 + 0.09953704 / 4)


def brute_force(positive: np.ndarray, negative: np.ndarray) -> tuple[float, float]:
    """DeLong's structural components (1988, equations 2 to 6) from all pairs, without ranks."""
    pairs = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    by_positive, by_negative = pairs.mean(axis=1), pairs.mean(axis=0)
    variance = by_positive.var(ddof=1) / len(positive) + by_negative.var(ddof=1) / len(negative)
    return pairs.mean(), variance


@pytest.mark.parametrize("seed", range(5))
def test_delong_matches_all_pairs(seed: int) -> None:
    truth, scores = drawn(seed, 300, digits=1)
    expected = brute_force(scores[truth], scores[~truth])
    assert ranking.delong(Ranking.of(truth, scores)) == pytest.approx(expected)


def bootstrap(metric, truth: np.ndarray, scores: np.ndarray, resamples: int = 400) -> np.ndarray:
    """The 95 % interval of a plain bootstrap of images, stratified by class."""
    generator = np.random.default_rng(1)
    groups = np.flatnonzero(truth), np.flatnonzero(~truth)
    values = []
    for _ in range(resamples):
        rows = np.concatenate([generator.choice(group, len(group)) for group in groups])
        values.append(metric(truth[rows], scores[rows]))
    return np.quantile(values, [0.025, 0.975])


@pytest.mark.slow
def test_intervals_match_a_bootstrap_of_images() -> None:
    truth, scores = drawn(7, 300)
    area, precision = (
        curves.roc_auc(Ranking.of(truth, scores)),
        curves.average_precision(Ranking.of(truth, scores)),
    )
    ends = bootstrap(roc_auc_score, truth, scores)
    np.testing.assert_allclose([area.low, area.high], ends, atol=0.015)
    ends = bootstrap(average_precision_score, truth, scores)
    np.testing.assert_allclose([precision.low, precision.high], ends, atol=0.02)


def test_delong_interval_covers_the_true_area() -> None:
    """Normal scores 1.5 apart: the true area is Phi(1.5 / sqrt(2)) = 0.8556."""
    inside = 0
    for seed in range(400):
        truth, scores = drawn(seed, 200, digits=9)
        area = curves.roc_auc(Ranking.of(truth, scores))
        inside += area.low <= 0.85558 <= area.high
    assert 0.93 <= inside / 400 <= 0.97


def test_curves_are_thinned_to_few_points_of_scikit_learn() -> None:
    truth, scores = drawn(3, 20_000, digits=9)
    thinned = curves.roc(Ranking.of(truth, scores))
    assert len(thinned) <= curves.POINTS
    assert thinned[0].tolist() == [0, 0]
    assert thinned[-1].tolist() == [1, 1]
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    assert set(map(tuple, thinned)) <= set(zip(false, true, strict=True))
    assert np.trapezoid(thinned[:, 1], thinned[:, 0]) == pytest.approx(roc_auc_score(truth, scores), abs=1e-3)
    points = curves.precision_recall(Ranking.of(truth, scores))
    precision, recall, _ = precision_recall_curve(truth, scores)
    assert len(points) <= curves.POINTS
    assert set(map(tuple, points)) <= set(zip(recall, precision, strict=True))
    assert np.all(np.diff(points[:, 0]) >= 0)


def test_perfect_order_is_no_proof_of_a_perfect_model() -> None:
    """5 images of the class: an area of 1 is expected of true areas down to 0.025 ** (1/5) = 0.478."""
    truth = np.repeat([True, False], [5, 100])
    area = curves.roc_auc(Ranking.of(truth, truth * 1.0))
    assert (area.value, area.high, area.method) == (1.0, 1.0, "exact")
    assert area.low == pytest.approx(0.025**0.2)
    precision = curves.average_precision(Ranking.of(truth, truth * 1.0))
    assert (precision.value, precision.record()["low"]) == (1.0, None)


@pytest.mark.parametrize("truth", [np.zeros(5, bool), np.ones(5, bool)])
def test_areas_of_a_single_class_are_undefined(truth: np.ndarray) -> None:
    scores = np.linspace(0, 1, 5)
    assert curves.roc_auc(Ranking.of(truth, scores)).record()["value"] is None
    assert curves.average_precision(Ranking.of(truth, scores)).value == (
        1.0 if truth.all() else pytest.approx(np.nan, nan_ok=True)
    )


def test_average_precision_of_few_images_of_the_class_is_in_its_interval() -> None:
    """10 images of the class and 90 others, normal scores 1.5 apart: 95 % of 400, less three standard errors.

    The true value is that of a million such images. A bootstrap held it in 85 %.
    """
    generator, truth = np.random.default_rng(3), np.arange(100) < 10
    many = generator.normal(size=1_000_000) + 1.5 * (np.arange(1_000_000) < 100_000)
    true = average_precision_score(np.arange(1_000_000) < 100_000, many)
    held = 0
    for _ in range(400):
        ranked = Ranking.of(truth, generator.normal(size=100) + 1.5 * truth)
        estimate = curves.average_precision(ranked)
        held += estimate.low <= true <= estimate.high
    assert held / 400 > 0.95 - 0.033


def test_average_precision_of_one_image_of_the_class_proves_nothing() -> None:
    estimate = curves.average_precision(Ranking.of(np.arange(5) == 0, np.array([0.5, 0.9, 0.1, 0.2, 0.3])))
    assert (estimate.value, estimate.low, estimate.high) == (0.5, 0, 1)
