"""Intervals of F1 and of means over classes against scipy's exact ones and the bootstrap of a large table."""

import numpy as np
import pytest
from scipy import stats

from tasks.core.metrics import classification, intervals, table_intervals

TABLE = np.array([[60, 5, 5], [10, 30, 10], [2, 8, 70]])


def test_f1_of_a_class_is_that_of_its_binomial_share() -> None:
    """Class 0: 60 hits of the 60 + 10 + 12 images with its label or prediction."""
    low, high = table_intervals.of_f1(TABLE)
    share = stats.binomtest(60, 82).proportion_ci(0.95, "exact")
    assert low[0] == pytest.approx(2 * share.low / (1 + share.low))
    assert high[0] == pytest.approx(2 * share.high / (1 + share.high))


def test_f1_of_a_class_that_does_not_occur_is_undefined() -> None:
    low, high = table_intervals.of_f1(np.array([[4, 0], [0, 0]]))
    assert np.isnan([low[1], high[1]]).all()
    assert high[0] == 1 > low[0]


def test_macro_intervals_of_a_large_table_are_those_of_the_bootstrap() -> None:
    table = TABLE * 100
    resampled = intervals.bootstrap_table(
        table,
        lambda tables: np.stack(
            [classification.f1_of(tables).mean(-1), classification.recall_of(tables).mean(-1)], axis=-1
        ),
    )
    low, high = intervals.percentiles(resampled)
    ours = table_intervals.of_macro_f1(table), table_intervals.of_balanced_accuracy(table)
    width = float((high - low).max())
    assert np.array(ours)[:, 0] == pytest.approx(low, abs=0.05 * width)
    assert np.array(ours)[:, 1] == pytest.approx(high, abs=0.05 * width)


def test_perfect_predictions_do_not_prove_a_perfect_model() -> None:
    low, high = table_intervals.of_macro_f1(np.eye(4, dtype=np.int64) * 10)
    assert low < 0.95
    assert high == 1
