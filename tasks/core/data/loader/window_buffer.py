"""The images of a large split in training order; two of its windows are in memory.

A thread reads each window once, in whole blocks, one window ahead. The system's page cache is not enough:
where memory is short it evicted the next window before it was used, since the used one looked worth keeping.
Four times the necessary bytes were read (docs/experiments.md).
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.loader import mmap
from tasks.core.data.loader.shuffle import Blocks, Shuffle


@dataclass(frozen=True)
class _Window:
    """A window in memory.

    Args:
        number: Epoch, and number of the window in it.
        blocks: The blocks that it consists of.
        images: uint8 (rows, H, W, C); the blocks' rows, concatenated.
    """

    number: tuple[int, int]
    blocks: Blocks
    images: NDArray[np.uint8]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images[self.blocks.positions(rows)]


class WindowBuffer:
    """Gives the images at positions of an epoch's order; it is fast if they are requested in that order.

    Args:
        images: uint8 (N, H, W, C); a mapped array or a `RowView` of one.
        shuffle: The order of the images in each epoch.
    """

    def __init__(self, images: NDArray[np.uint8], shuffle: Shuffle) -> None:
        self.images, self.shuffle = images, shuffle
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="window")
        self._next: Future[_Window] | None = None
        self._current: _Window | None = None

    def take(self, epoch: int, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A new array of the images at these positions of the epoch's order, uint8 (n, H, W, C)."""
        rows = self.shuffle.order(epoch)[positions]
        taken = self._empty(len(rows))
        windows = self.shuffle.windows(positions)
        for window in np.unique(windows).tolist():
            in_window = windows == window
            taken[in_window] = self._window(epoch, window).take(rows[in_window])
        return taken

    def _window(self, epoch: int, window: int) -> _Window:
        """That window. The one after it is then read in the background."""
        if self._current and self._current.number == (epoch, window):
            return self._current
        following = self._next.result() if self._next else None
        if following and following.number == (epoch, window):
            reusable = self._current
        else:  # the first window, or a jump to another position
            reusable, following = following, self._read((epoch, window), self._current)
        self._current = following
        self._next = self._reader.submit(self._read, self.shuffle.following(epoch, window), reusable)
        return following

    def _read(self, number: tuple[int, int], reusable: _Window | None) -> _Window:
        """Read a window, into the memory of another one that is no longer needed."""
        blocks = self.shuffle.blocks(*number)
        images, position = reusable.images if reusable else self._allocate(), 0
        for first, last in blocks.ranges:
            mmap.read(self.images, first, last, images[position : position + last - first])
            position += last - first
        return _Window(number, blocks, images)

    def _allocate(self) -> NDArray[np.uint8]:
        # After a short last block, windows no longer end at block ends: one can overlap two blocks more.
        rows = self.shuffle.window + 2 * self.shuffle.block
        return self._empty(rows)

    def _empty(self, rows: int) -> NDArray[np.uint8]:
        return np.empty((rows, *self.images.shape[1:]), self.images.dtype)
