"""The order of images in an epoch, and the reading of large tensors."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.data import windows
from tasks.core.data.cache import Selection
from tasks.core.data.windows import Shuffle

MB = 1 << 20


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of 64 bytes of blocks of 16, so that a thousand images of 4 bytes are a large split."""
    monkeypatch.setattr(windows, "WHOLE", 256)
    monkeypatch.setattr(windows, "WINDOW", 64)
    monkeypatch.setattr(windows, "BLOCK", 16)


def test_a_split_that_fits_is_shuffled_as_a_whole() -> None:
    shuffle = Shuffle(seed=3, rows=1000, row_bytes=3072)
    assert np.array_equal(shuffle.order(2), np.random.default_rng([3, 2]).permutation(1000))
    assert shuffle.ahead(0, 0, 1000) == []


@pytest.mark.parametrize("rows", [1000, 1001, 1003, 65])
def test_every_image_comes_once_in_an_epoch(small: None, rows: int) -> None:
    shuffle = Shuffle(seed=0, rows=rows, row_bytes=4)
    assert not shuffle.is_whole
    for epoch in range(3):
        assert np.array_equal(np.sort(shuffle.order(epoch)), np.arange(rows))


def test_the_order_follows_from_seed_and_epoch_alone(small: None) -> None:
    orders = [Shuffle(seed, 1000, 4).order(epoch) for seed in (0, 1) for epoch in (0, 1)]
    again = [Shuffle(seed, 1000, 4).order(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(np.array_equal(*pair) for pair in zip(orders, again, strict=True))
    assert len({order.tobytes() for order in orders}) == 4


def test_a_window_holds_whole_blocks_shuffled_among_each_other(small: None) -> None:
    """16 images a window: 4 blocks of 4."""
    order = Shuffle(seed=0, rows=1600, row_bytes=4).order(0)
    for window in order.reshape(-1, 16):
        blocks, counts = np.unique(window // 4, return_counts=True)
        assert counts.tolist() == [4] * 4
        assert len(blocks) == 4
    neighbours = np.mean(np.diff(order) == 1)
    assert neighbours < 0.15  # within a window of 16, one in 16 follows its neighbour by chance


def test_what_is_read_ahead_is_what_comes_next(small: None) -> None:
    """The pieces asked for during a window are exactly the blocks of the next, however it is cut."""
    shuffle = Shuffle(seed=5, rows=160, row_bytes=4)
    for step in (1, 3, 16):
        for epoch, window in [(0, 0), (0, 5), (0, 9)]:
            places = range(window * 16, (window + 1) * 16, step)
            pieces = [
                piece
                for at in places
                for piece in shuffle.ahead(epoch, at, min(at + step, (window + 1) * 16))
            ]
            read = np.concatenate([np.arange(*piece) for piece in pieces])
            last = window == 9
            coming = shuffle.order(epoch + last)[(0 if last else window + 1) * 16 :][:16]
            assert np.array_equal(np.sort(read), np.sort(coming))


def test_memory_does_not_decide_the_order_of_a_small_split(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Shuffle(1, 500, 100).order(0)
    monkeypatch.setattr(windows, "WHOLE", 500 * 100)
    windows._order.cache_clear()
    assert np.array_equal(Shuffle(1, 500, 100).order(0), before)


def test_the_pattern_of_labels_is_gone(small: None) -> None:
    """A file that is sorted by class, the worst case, comes out of an epoch with classes well mixed."""
    labels = np.repeat(np.arange(10), 100)
    order = Shuffle(seed=0, rows=1000, row_bytes=4).order(0)
    kinds = [len(set(window)) for window in labels[order].reshape(-1, 20).tolist()]
    assert np.mean(kinds) > 3


def test_reading_ahead_leaves_mapped_and_plain_arrays_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (5000, 40), np.uint8)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    windows.read_ahead(mapped, [(0, 10), (4990, 5000)])
    windows.read_ahead(values, [(0, 10)])
    selection = Selection(mapped, np.arange(0, 5000, 3))
    windows.read_ahead(selection, [(0, 7), (1660, 1667)])
    assert np.array_equal(mapped, values)


def test_a_selection_is_used_like_the_array_of_its_rows(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (50, 3, 2), np.uint8)
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    rows = np.flatnonzero(np.arange(50) % 7)
    selection, expected = Selection(mapped, rows), values[rows]
    assert (len(selection), selection.shape, selection.dtype) == (len(expected), expected.shape, np.uint8)
    for key in (slice(3, 9), np.array([5, 1, 41]), slice(None, 100), slice(None, None, 2)):
        assert np.array_equal(selection[key], expected[key])
    assert selection.base is mapped.base
