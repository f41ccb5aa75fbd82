"""P-values of several tests: Holm's correction by hand."""

import numpy as np
import pytest

from tasks.core.metrics.multiple_tests import holm


def test_holm_small_example_matches_hand_computation() -> None:
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, never falling: 0.04, 0.06, 0.06, 0.06."""
    assert holm(np.array([0.03, 0.01, 0.04, 0.02])) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm(np.array([0.9, 0.8])).tolist() == [1, 1]


def test_holm_does_not_count_what_is_not_a_number() -> None:
    """0.01 * 3, 0.02 * 2, 0.9 * 1, and never below the one before."""
    values = holm(np.array([0.9, 0.01, np.nan, 0.02]))
    assert values.tolist() == pytest.approx([0.9, 0.03, np.nan, 0.04], nan_ok=True)
    assert holm(np.array([0.3, 0.4])).tolist() == pytest.approx([0.6, 0.6])
