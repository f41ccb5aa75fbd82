import numpy as np
import pytest
from scipy.stats import chi2

from tasks.core.metrics.comparison import equivalence
from tasks.core.metrics.comparison.equivalence import Answer


def test_interval_is_that_of_a_published_example() -> None:
    """Airway hyper-responsiveness, 21 children: Fagerland, Lydersen, Laake, Statistics in Medicine 33, 2014.

    They give -0.517 to -0.026 for Tango's interval.
    """
    compared = equivalence.compare(1, 7, 21, 0.01)
    assert (round(compared.low, 3), round(compared.high, 3)) == (-0.517, -0.026)


@pytest.mark.parametrize("images", [20, 200, 5000])
def test_without_disagreement_the_interval_is_that_of_the_score_test(images: int) -> None:
    """By hand: the statistic's square is N d / (1 - d), and 3.84 at the ends."""
    compared = equivalence.compare(0, 0, images, 0.01)
    end = chi2.ppf(0.95, 1) / (images + chi2.ppf(0.95, 1))
    assert (-compared.low, compared.high) == pytest.approx((end, end), abs=1e-9)


@pytest.mark.parametrize(("first", "second"), [(5, 15), (2, 9), (3, 10), (0, 5), (1, 9), (40, 60), (10, 10)])
def test_zero_is_excluded_where_mcnemars_test_rejects(first: int, second: int) -> None:
    """At a difference of 0 the score test is McNemar's, without the correction for continuity."""
    compared = equivalence.compare(first, second, 500, 0.01)
    statistic = (first - second) ** 2 / (first + second)
    assert (compared.low > 0 or compared.high < 0) == (statistic > chi2.ppf(0.95, 1))


@pytest.mark.parametrize(
    ("first", "second", "images", "margin", "answer"),
    [
        (2, 9, 123, 0.01, Answer.different),  # -5.69 points
        (3, 8, 123, 0.01, Answer.open),
        (0, 0, 200, 0.01, Answer.open),
        (0, 0, 200, 0.02, Answer.equivalent),
        (20, 20, 20_000, 0.01, Answer.equivalent),
        (60, 20, 20_000, 0.01, Answer.equivalent),  # proven to differ, by 0.2 points
        (0, 50, 50, 0.01, Answer.different),
    ],
)
def test_answer(first: int, second: int, images: int, margin: float, answer: Answer) -> None:
    assert equivalence.compare(first, second, images, margin).answer is answer
    assert equivalence.compare(second, first, images, margin).answer is answer


@pytest.mark.parametrize(("first", "second"), [(0.05, 0.05), (0.02, 0.06), (0.005, 0.005)])
def test_interval_covers_the_truth(first: float, second: float) -> None:
    generator = np.random.default_rng(0)
    draws = generator.multinomial(300, [first, second, 1 - first - second], 500).tolist()
    intervals = [equivalence.compare(a, b, 300, 0.01) for a, b, _ in draws]
    covered = np.mean([each.low <= first - second <= each.high for each in intervals])
    assert covered > 0.93
