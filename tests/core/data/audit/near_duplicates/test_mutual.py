"""Which close pairs have their edges compared."""

import numpy as np
import pytest

from tasks.core.data.audit.near_duplicates import mutual


def test_nearest_keeps_pairs_among_the_closest_of_both_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Image 0 is close to all others. Of its four pairs it keeps the first two, though 4 has no other."""
    monkeypatch.setattr(mutual, "NEAREST", 2)
    a, b = np.array([[0, 1], [2, 3], [0, 2], [1, 2], [0, 3], [0, 4]]).T
    assert mutual.nearest(a, b).tolist() == [True, True, True, False, False, False]
    assert mutual.nearest(a[:0], b[:0]).tolist() == []


def test_connected_pairs_are_those_within_a_chain_of_matches() -> None:
    """0-1 and 1-2 match, so 0-2 is connected; 3 matches nothing."""
    a, b = np.array([[0, 1], [1, 2], [0, 2], [2, 3], [3, 4]]).T
    matches = np.array([True, True, False, False, False])
    assert mutual.connected(a, b, matches, 5).tolist() == [True, True, True, False, False]
