"""The images of a split as training asks for them; of a large split, two windows are held in memory.

Each window is read once, in whole blocks, by a thread that is a window ahead. Left to the system's cache,
windows were thrown out again before they were used where memory was short, since the one before it had
been used and so looked worth keeping: four times as much was read as was needed (docs/experiments.md).
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
        number: Epoch, and the window in it.
        blocks: What it consists of, ascending.
        images: uint8 (rows, H, W, C); the blocks' rows, one after the other.
    """

    number: tuple[int, int]
    blocks: Blocks
    images: NDArray[np.uint8]

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images[self.blocks.positions(rows)]


class WindowBuffer:
    """Gives the images at given places of an epoch's order; meant to be asked for them in their order.

    Args:
        images: uint8 (N, H, W, C); a mapped array or a `Selection` of one.
        shuffle: Their order in each epoch.
    """

    def __init__(self, images: NDArray[np.uint8], shuffle: Shuffle) -> None:
        self.images, self.shuffle = images, shuffle
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="window")
        self._coming: Future[_Window] | None = None
        self._held: _Window | None = None

    def take(self, epoch: int, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """A new array of the images at these places of the epoch's order, uint8 (n, H, W, C)."""
        rows = self.shuffle.order(epoch)[places]
        if self.shuffle.is_full_shuffle:
            return mmap.read_rows(self.images, rows)
        taken = np.empty((len(rows), *self.images.shape[1:]), np.uint8)
        windows = self.shuffle.windows(places)
        for window in np.unique(windows).tolist():
            chosen = windows == window
            taken[chosen] = self._window(epoch, window).take(rows[chosen])
        return taken

    def _window(self, epoch: int, window: int) -> _Window:
        """That window, having the one after it read meanwhile."""
        if self._held and self._held.number == (epoch, window):
            return self._held
        coming = self._coming.result() if self._coming else None
        if coming and coming.number == (epoch, window):
            free = self._held
        else:  # the first window of all, or training went on somewhere else
            free, coming = coming, self._read((epoch, window), self._held)
        self._held = coming
        self._coming = self._reader.submit(self._read, self.shuffle.following(epoch, window), free)
        return coming

    def _read(self, number: tuple[int, int], free: _Window | None) -> _Window:
        """Read a window, into the memory of another that nobody needs any more."""
        blocks = self.shuffle.blocks(*number)
        images, place = free.images if free else self._space(), 0
        for first, last in blocks.ranges:
            mmap.read(self.images, first, last, images[place : place + last - first])
            place += last - first
        return _Window(number, blocks, images)

    def _space(self) -> NDArray[np.uint8]:
        # Behind a short last block windows end within blocks: two more than fit can have a part in one.
        rows = self.shuffle.window + 2 * self.shuffle.block
        return np.empty((rows, *self.images.shape[1:]), np.uint8)
