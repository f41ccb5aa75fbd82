"""Drift: seen where it is, at the promised rate where it isn't, and not where it doesn't matter."""

import numpy as np
import pytest
from scipy import stats

from tasks.core.metrics import drift
from tasks.core.metrics.drift import Numbers

CHANCE = np.random.default_rng(0)


def numbers(count: int, features: int = 12, shift: float = 0.0) -> Numbers:
    """Numbers that hang together in pairs, the first one moved by `shift` standard deviations."""
    values = CHANCE.normal(size=(count, features))
    values[:, 1::2] = values[:, ::2] + 0.1 * values[:, 1::2]
    values[:, 0] += shift
    return {f"n{place}": column for place, column in enumerate(values.T)}


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling: 0.04, 0.06, 0.06, 0.06."""
    assert drift.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert drift.holm([0.9, 0.8]) == [1, 1]


def test_distance_and_p_value_are_scipys() -> None:
    one, other = CHANCE.normal(size=300), CHANCE.normal(0.5, 1, size=200)
    (shift,) = drift.compare({"n": one}, {"n": other}).shifts
    expected = stats.ks_2samp(one, other)
    assert shift.distance == pytest.approx(expected.statistic)
    assert shift.p_value == pytest.approx(expected.pvalue)
    assert (shift.before, shift.now) == (np.median(one), np.median(other))


@pytest.mark.parametrize(("profile", "batch"), [(140, 100), (2000, 5000)])
def test_batches_of_the_same_kind_are_called_drifted_no_oftener_than_promised(
    profile: int, batch: int
) -> None:
    """Of 100 batches one is expected; seven or more have a probability of 1e-4."""
    found = [drift.compare(numbers(profile), numbers(batch)) for _ in range(100)]
    assert sum(bool(compared.drifted) for compared in found) <= 6


def test_a_shift_is_found_and_named() -> None:
    found = drift.compare(numbers(2000), numbers(1000, shift=0.5))
    assert [shift.feature for shift in found.drifted] == ["n0"]
    assert found.record()["detected"]
    assert str(found).startswith("DRIFT: n0 ")


def test_a_proven_but_tiny_shift_is_none() -> None:
    found = drift.compare(numbers(50_000), numbers(50_000, shift=0.1))
    first = next(shift for shift in found.shifts if shift.feature == "n0")
    assert first.p_value < 1e-6
    assert first.distance < drift.MIN_KS_DISTANCE
    assert not found.drifted
    assert str(found).startswith("no drift")


def test_of_a_model_that_is_always_sure_the_order_of_confidences_says_nothing() -> None:
    sure, surer = CHANCE.uniform(0.993, 0.995, 500), CHANCE.uniform(0.994, 0.996, 500)
    (shift,) = drift.compare({"confidence": sure}, {"confidence": surer}).shifts
    assert shift.distance > 0.4
    assert not shift.drifted
    assert drift.compare({"confidence": sure}, {"confidence": surer - 0.1}).drifted


def test_too_few_images_are_not_compared() -> None:
    found = drift.compare(numbers(2000), numbers(drift.FEWEST - 1))
    assert not found.shifts
    assert "19 readable images are too few" in str(found)
    assert "validation images" in str(drift.compare(numbers(3), numbers(100)))
    assert "0 readable images" in str(drift.compare(numbers(100), {}))
