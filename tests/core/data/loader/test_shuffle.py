"""The order of images in an epoch, and the reading of large tensors."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.data.loader.shuffle import Shuffle
from tasks.core.data.tensors.cache import RowView


def small(seed: int, rows: int) -> Shuffle:
    """Windows of 16 images of 4 bytes, in blocks of 4: a thousand are a large split."""
    return Shuffle(seed, rows, row_bytes=4, full_shuffle_bytes=256, window_bytes=64, block_bytes=16)


def test_a_split_that_fits_is_shuffled_as_a_whole() -> None:
    shuffle = Shuffle(seed=3, rows=1000, row_bytes=3072)
    assert np.array_equal(shuffle.order(2), np.random.default_rng([3, 2]).permutation(1000))
    assert shuffle.is_full_shuffle


@pytest.mark.parametrize("rows", [1000, 1001, 1003, 65])
def test_every_image_comes_once_in_an_epoch(rows: int) -> None:
    shuffle = small(0, rows)
    assert not shuffle.is_full_shuffle
    for epoch in range(3):
        assert np.array_equal(np.sort(shuffle.order(epoch)), np.arange(rows))


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    orders = [small(seed, 1000).order(epoch) for seed in (0, 1) for epoch in (0, 1)]
    again = [small(seed, 1000).order(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(np.array_equal(*pair) for pair in zip(orders, again, strict=True))
    assert len({order.tobytes() for order in orders}) == 4


def test_a_window_holds_whole_blocks_shuffled_among_each_other() -> None:
    """16 images a window: 4 blocks of 4."""
    order = small(0, 1600).order(0)
    for window in order.reshape(-1, 16):
        blocks, counts = np.unique(window // 4, return_counts=True)
        assert counts.tolist() == [4] * 4
        assert len(blocks) == 4
    neighbours = np.mean(np.diff(order) == 1)
    assert neighbours < 0.15  # within a window of 16, one in 16 follows its neighbour by chance


@pytest.mark.parametrize("rows", [160, 161, 175])
def test_the_blocks_of_a_window_hold_its_rows(rows: int) -> None:
    """In windows of 16; with 161 rows the last block has one, wherever in the order it comes."""
    shuffle = small(5, rows)
    number, seen = (0, 0), []
    while number[0] < 2:
        epoch, window = number
        blocks = shuffle.blocks(*number)
        laid = np.concatenate([np.arange(*piece) for piece in blocks.ranges])
        wanted = shuffle.order(epoch)[window * 16 : (window + 1) * 16]
        assert np.array_equal(laid[blocks.positions(wanted)], wanted)
        assert len(laid) <= 24
        seen.append(number)
        number = shuffle.following(*number)
    each = range(-(-rows // 16))
    assert seen == [(epoch, window) for epoch in (0, 1) for window in each]
    assert shuffle.windows(np.array([0, 15, 16, rows - 1])).tolist() == [0, 0, 1, each[-1]]


def test_memory_does_not_decide_the_order_of_a_small_split() -> None:
    tight = Shuffle(1, 500, 100, full_shuffle_bytes=500 * 100)
    assert np.array_equal(Shuffle(1, 500, 100).order(0), tight.order(0))


def test_the_pattern_of_labels_is_gone() -> None:
    """A file that is sorted by class, the worst case, comes out of an epoch with classes well mixed."""
    labels = np.repeat(np.arange(10), 100)
    order = small(0, 1000).order(0)
    kinds = [len(set(window)) for window in labels[order].reshape(-1, 20).tolist()]
    assert np.mean(kinds) > 3


def test_a_selection_is_used_like_the_array_of_its_rows(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (50, 3, 2), np.uint8)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    rows = np.flatnonzero(np.arange(50) % 7)
    selection, expected = RowView(mapped, rows), values[rows]
    assert (len(selection), selection.shape, selection.dtype) == (len(expected), expected.shape, np.uint8)
    for key in (slice(3, 9), np.array([5, 1, 41]), slice(None, 100), slice(None, None, 2)):
        assert np.array_equal(selection[key], expected[key])
    assert selection.base is mapped.base
