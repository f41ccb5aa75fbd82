"""Drift: real shifts are detected, false alarms stay below the rate, irrelevant shifts are ignored."""

import numpy as np
import pytest
from scipy import stats

from tasks.core.metrics import drift
from tasks.core.metrics.drift import Features

GENERATOR = np.random.default_rng(0)


def draw_features(count: int, features: int = 12, shift: float = 0.0) -> Features:
    """Features that are correlated in pairs; the first is moved by `shift` standard deviations."""
    values = GENERATOR.normal(size=(count, features))
    values[:, 1::2] = values[:, ::2] + 0.1 * values[:, 1::2]
    values[:, 0] += shift
    return {f"n{index}": column for index, column in enumerate(values.T)}


def test_compare_distance_and_p_value_match_scipy() -> None:
    first, second = GENERATOR.normal(size=300), GENERATOR.normal(0.5, 1, size=200)
    (shift,) = drift.compare({"n": first}, {"n": second}).shifts
    expected = stats.ks_2samp(first, second)
    assert shift.distance == pytest.approx(expected.statistic)
    assert shift.p_value == pytest.approx(expected.pvalue)
    assert (shift.before, shift.now) == (np.median(first), np.median(second))


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "batch"), [(140, 100), pytest.param(2000, 5000, marks=pytest.mark.slow)])
def test_compare_same_distribution_keeps_the_false_alarm_rate(profile: int, batch: int) -> None:
    """Of 100 batches one is expected; seven or more have a probability of 1e-4."""
    results = [drift.compare(draw_features(profile), draw_features(batch)) for _ in range(100)]
    assert sum(bool(result.drifted) for result in results) <= 6


def test_compare_shifted_feature_is_reported() -> None:
    result = drift.compare(draw_features(2000), draw_features(1000, shift=0.5))
    assert [shift.feature for shift in result.drifted] == ["n0"]
    assert result.record()["detected"]
    assert str(result).startswith("DRIFT: n0 ")


def test_large_numbers_are_written_out() -> None:
    shift = drift.FeatureShift("pixels", 1.0, 1e-9, 1024.0, 60000.0, True)
    assert drift.shift_text(shift) == "pixels 1,024 -> 60,000 (distance 1.00)"


def test_compare_significant_but_tiny_shift_is_no_drift() -> None:
    result = drift.compare(draw_features(50_000), draw_features(50_000, shift=0.1))
    first = next(shift for shift in result.shifts if shift.feature == "n0")
    assert first.p_value < 1e-6
    assert first.distance < drift.MIN_KS_DISTANCE
    assert not result.drifted
    assert str(result).startswith("no drift")


def test_compare_tiny_change_of_high_confidences_is_no_drift() -> None:
    confidences, higher_confidences = (
        GENERATOR.uniform(0.993, 0.995, 500),
        GENERATOR.uniform(0.994, 0.996, 500),
    )
    (shift,) = drift.compare({"confidence": confidences}, {"confidence": higher_confidences}).shifts
    assert shift.distance > 0.4
    assert not shift.drifted
    assert drift.compare({"confidence": confidences}, {"confidence": higher_confidences - 0.1}).drifted


def test_compare_too_few_images_gives_no_comparison() -> None:
    result = drift.compare(draw_features(2000), draw_features(drift.FEWEST - 1))
    assert not result.shifts
    assert "too few: 19 readable images; at least 20 are needed" in str(result)
    assert "3 validation images" in str(drift.compare(draw_features(3), draw_features(100)))
    both = drift.compare(draw_features(17), draw_features(1))  # "1 validation images are too few" was said
    assert "too few: 17 validation images and 1 readable image;" in str(both)
    assert "0 readable images" in str(drift.compare(draw_features(100), {}))
