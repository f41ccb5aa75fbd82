"""A group is in one fold."""

import numpy as np
import pytest

from tasks.core.data.tensors import folds


@pytest.mark.parametrize(("images", "groups", "parts"), [(400, 30, 5), (60, 60, 4), (50, 5, 5), (90, 7, 3)])
def test_members_each_group_is_in_one_fold(images: int, groups: int, parts: int) -> None:
    codes = np.concatenate([np.arange(groups), np.random.default_rng(0).integers(0, groups, images - groups)])
    is_test = np.array([folds.members(images, number, parts, codes) for number in range(parts)])
    assert (is_test.sum(axis=0) == 1).all()
    for group in range(groups):
        assert len(np.unique(is_test.argmax(0)[codes == group])) == 1
    sizes = is_test.sum(axis=1)
    assert sizes.min() > 0
    assert np.ptp(sizes) <= np.bincount(codes).max()


def test_members_fewer_groups_than_folds_leaves_the_last_ones_empty() -> None:
    """Groups of 6, 1 and 3 images; the smallest fold comes first, so that it is the one to hold out."""
    codes = np.array([0] * 6 + [1] + [2] * 3)
    assert [folds.members(10, number, 5, codes).sum() for number in range(5)] == [1, 3, 6, 0, 0]
