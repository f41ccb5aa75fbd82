"""Images in training order, of which only two windows are in memory."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.data.loader.shuffle import Shuffle
from tasks.core.data.loader.window_buffer import WindowBuffer
from tasks.core.data.tensors.cache import RowView

Images = NDArray[np.uint8]
ROWS = 175  # 11 windows of 16; the last block has three rows instead of four


@pytest.fixture
def images(tmp_path: Path) -> Images:
    values = np.random.default_rng(0).integers(0, 256, (2 * ROWS, 2, 2, 3), np.uint8)
    np.save(tmp_path / "images.npy", values)
    return cast(Images, np.load(tmp_path / "images.npy", mmap_mode="r"))


def shuffled(images: Any) -> WindowBuffer:
    """Windows of 16 images, in blocks of 4."""
    sizes = {"full_shuffle_bytes": 0, "window_bytes": 16 * 12, "block_bytes": 4 * 12}
    return WindowBuffer(images, Shuffle(seed=7, rows=len(images), row_bytes=12, **sizes))


@pytest.mark.parametrize("step", [1, 5, 16, 40])
def test_take_returns_images_in_the_order_of_the_epoch(images: Images, step: int) -> None:
    """The requested number of images does not matter; steps of 5 and 40 cross windows."""
    split_images = images[:ROWS]
    buffer = shuffled(split_images)
    for epoch in (0, 1, 2):
        taken = [
            buffer.take(epoch, np.arange(start, min(start + step, ROWS))) for start in range(0, ROWS, step)
        ]
        assert np.array_equal(np.concatenate(taken), split_images[buffer.shuffle.order(epoch)])


def test_take_of_one_process_share_of_each_batch(images: Images) -> None:
    buffer = shuffled(images[:ROWS])
    positions = np.arange(160).reshape(20, 8)[:, 4:].ravel()
    assert np.array_equal(buffer.take(3, positions), images[buffer.shuffle.order(3)[positions]])


def test_take_from_a_row_view_equals_an_array_of_its_rows(images: Images) -> None:
    rows = np.arange(0, 2 * ROWS, 2)
    buffer = shuffled(RowView(images, rows))
    assert np.array_equal(buffer.take(0, np.arange(ROWS)), images[rows][buffer.shuffle.order(0)])


def test_take_from_any_position_after_a_jump(images: Images) -> None:
    """As after resuming from a checkpoint or stopping early: the window that was read ahead is not needed."""
    buffer = shuffled(images[:ROWS])
    for epoch, position in [(2, 100), (0, 3), (0, 170), (1, 0), (1, 33), (5, 20)]:
        positions = np.arange(position, position + 5)
        assert np.array_equal(buffer.take(epoch, positions), images[buffer.shuffle.order(epoch)[positions]])


def test_take_result_is_not_changed_by_later_reads(images: Images) -> None:
    buffer = shuffled(images[:ROWS])
    first = buffer.take(0, np.arange(16))
    copy = first.copy()
    for start in range(16, ROWS, 16):
        buffer.take(0, np.arange(start, min(start + 16, ROWS)))
    assert np.array_equal(first, copy)


class Unreadable:
    """An array whose rows from `first` on cannot be read."""

    base, strides = None, (12,)

    def __init__(self, images: Images, first: int) -> None:
        self.images, self.first, self.shape, self.dtype = images, first, images.shape, images.dtype

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, key: slice) -> Images:
        if key.stop > self.first:
            raise OSError("unreadable")
        return self.images[key]


def test_take_unreadable_window_raises_when_it_is_requested(images: Images) -> None:
    """It does not raise when it is read, one window ahead."""
    split_images = images[:160]
    buffer = shuffled(Unreadable(split_images, 156))
    order = buffer.shuffle.order(0)
    window = int(np.flatnonzero(order == 159)[0]) // 16
    assert window > 0
    before = np.arange(16 * window)
    assert np.array_equal(buffer.take(0, before), split_images[order[before]])
    with pytest.raises(OSError, match="unreadable"):
        buffer.take(0, np.arange(16 * window, 16 * window + 5))
