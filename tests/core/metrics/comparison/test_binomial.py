import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from tasks.core.metrics.comparison import binomial


def test_tails_are_those_of_scipy() -> None:
    trials, chances = np.arange(60)[:, None, None], np.array([0.0, 0.03, 0.5, 0.9, 1.0])
    fewest = np.arange(-1, 62)[:, None]
    expected = stats.binom.sf(fewest - 1, trials, chances)
    np.testing.assert_array_equal(binomial.at_least(fewest, trials, chances), expected)


def test_each_number_has_its_chance() -> None:
    successes = np.arange(0, 401)
    expected = stats.binom.pmf(successes, 400, 0.3)
    np.testing.assert_allclose(binomial.exactly(successes, 400, 0.3), expected, atol=1e-13)


@pytest.mark.parametrize(("one", "other"), [(0, 0), (3, 3), (7, 8), (0, 1), (5, 0), (20, 41), (4000, 4300)])
def test_the_test_is_scipys_exact_one(one: int, other: int) -> None:
    expected = stats.binomtest(one, one + other).pvalue if one + other else 1.0
    assert binomial.fair(one, other) == pytest.approx(expected, rel=1e-12)
    assert binomial.fair(other, one) == binomial.fair(one, other)


def test_fewer_heads_than_the_critical_number_are_more_likely_than_the_level() -> None:
    trials = np.arange(1, 3000)
    least = binomial.critical(trials, 0.025)
    np.testing.assert_array_equal(least, stats.binom.isf(0.025, trials, 0.5) + 1)
    assert (binomial.at_least(least, trials, 0.5) <= 0.025).all()
    assert (binomial.at_least(least - 1, trials, 0.5) > 0.025).all()
