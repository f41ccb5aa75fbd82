"""The order of the images in an epoch, and views of some rows of an array."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.data.loader.shuffle import Shuffle
from tasks.core.data.tensors.cache import RowView


def small_windows(seed: int, rows: int) -> Shuffle:
    """Windows of 16 images of 4 bytes, in blocks of 4; more than 64 images are a large split."""
    return Shuffle(seed, rows, row_bytes=4, full_shuffle_bytes=256, window_bytes=64, block_bytes=16)


def test_order_small_split_is_a_full_shuffle() -> None:
    shuffle = Shuffle(seed=3, rows=1000, row_bytes=3072)
    assert np.array_equal(shuffle.order(2), np.random.default_rng([3, 2]).permutation(1000))
    assert shuffle.is_full_shuffle


@pytest.mark.parametrize("rows", [1000, 1001, 1003, 65])
def test_order_contains_every_row_once(rows: int) -> None:
    shuffle = small_windows(0, rows)
    assert not shuffle.is_full_shuffle
    for epoch in range(3):
        assert np.array_equal(np.sort(shuffle.order(epoch)), np.arange(rows))


def test_order_depends_on_seed_and_epoch_only() -> None:
    orders = [small_windows(seed, 1000).order(epoch) for seed in (0, 1) for epoch in (0, 1)]
    repeated = [small_windows(seed, 1000).order(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(np.array_equal(*pair) for pair in zip(orders, repeated, strict=True))
    assert len({order.tobytes() for order in orders}) == 4


def test_order_window_consists_of_shuffled_complete_blocks() -> None:
    """A window has 16 images: 4 blocks of 4."""
    order = small_windows(0, 1600).order(0)
    for window in order.reshape(-1, 16):
        blocks, counts = np.unique(window // 4, return_counts=True)
        assert counts.tolist() == [4] * 4
        assert len(blocks) == 4
    neighbours = np.mean(np.diff(order) == 1)
    assert neighbours < 0.15  # within a window of 16, one in 16 follows its neighbour by chance


@pytest.mark.parametrize("rows", [160, 161, 175])
def test_blocks_of_a_window_contain_its_rows(rows: int) -> None:
    """A window has 16 rows. With 161 rows the last block has one row, at a random position of the order."""
    shuffle = small_windows(5, rows)
    number, windows = (0, 0), []
    while number[0] < 2:
        epoch, window = number
        blocks = shuffle.blocks(*number)
        rows_of_blocks = np.concatenate([np.arange(*piece) for piece in blocks.ranges])
        wanted = shuffle.order(epoch)[window * 16 : (window + 1) * 16]
        assert np.array_equal(rows_of_blocks[blocks.positions(wanted)], wanted)
        assert len(rows_of_blocks) <= 24
        windows.append(number)
        number = shuffle.following(*number)
    numbers = range(-(-rows // 16))
    assert windows == [(epoch, window) for epoch in (0, 1) for window in numbers]
    assert shuffle.windows(np.array([0, 15, 16, rows - 1])).tolist() == [0, 0, 1, numbers[-1]]


def test_order_of_a_small_split_does_not_depend_on_the_limit() -> None:
    at_the_limit = Shuffle(1, 500, 100, full_shuffle_bytes=500 * 100)
    assert np.array_equal(Shuffle(1, 500, 100).order(0), at_the_limit.order(0))


def test_order_of_a_sorted_file_mixes_the_classes() -> None:
    """A file that is sorted by class is the worst case; an epoch still mixes the classes."""
    labels = np.repeat(np.arange(10), 100)
    order = small_windows(0, 1000).order(0)
    class_counts = [len(set(window)) for window in labels[order].reshape(-1, 20).tolist()]
    assert np.mean(class_counts) > 3


def test_row_view_behaves_like_the_array_of_its_rows(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (50, 3, 2), np.uint8)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    rows = np.flatnonzero(np.arange(50) % 7)
    view, expected = RowView(mapped, rows), values[rows]
    assert (len(view), view.shape, view.dtype) == (len(expected), expected.shape, np.uint8)
    for key in (slice(3, 9), np.array([5, 1, 41]), slice(None, 100), slice(None, None, 2)):
        assert np.array_equal(view[key], expected[key])
    assert view.base is mapped.base
