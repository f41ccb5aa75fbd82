"""The order in which training sees the images: a full shuffle, or one of windows where they don't fit memory.

A larger split is shuffled at two levels: blocks of neighbouring rows in random order, and the rows of some
blocks, a window, among each other. What is read at a time then lies in a few large pieces of the file, and
only a window has to stay in the system's page cache. Since normalize writes rows in an order that is random
with respect to class, little of the randomness is lost.
"""

import mmap
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.cache import Selection

WHOLE = 256 << 20  # bytes; a split up to this size is shuffled as a whole
WINDOW = 128 << 20  # bytes of a larger split that are shuffled among each other
BLOCK = 4 << 20  # bytes of neighbouring rows that come into a window together
Ranges = list[tuple[int, int]]


@dataclass(frozen=True)
class Shuffle:
    """The order of a split's images in each epoch: follows from the seed and the epoch alone.

    Args:
        seed: Everything random follows from it.
        rows: Number of images.
        row_bytes: Of an image.
    """

    seed: int
    rows: int
    row_bytes: int

    def order(self, epoch: int) -> NDArray[np.int64]:
        """All row numbers in the order of an epoch, counted from 0; read-only."""
        return _order(self, epoch)

    def ahead(self, epoch: int, start: int, end: int) -> Ranges:
        """What to read ahead while the images start..end of an epoch's order are used.

        Each part of a window has its share of the next window's blocks, the next epoch's first window
        following the last.

        Returns:
            First and one-past-last row of each piece; nothing if the split is shuffled as a whole
        """
        if self.is_whole:
            return []
        window, place = divmod(start, self._window)
        following = (epoch, window + 1) if (window + 1) * self._window < self.rows else (epoch + 1, 0)
        blocks = _blocks(self, *following)
        length = min(self._window, self.rows - window * self._window)
        share = [round(len(blocks) * min(1.0, at / length)) for at in (place, place + end - start)]
        return [
            (int(n) * self._block, min((int(n) + 1) * self._block, self.rows)) for n in blocks[slice(*share)]
        ]

    @property
    def is_whole(self) -> bool:
        """Whether all rows are shuffled among each other."""
        return self.rows * self.row_bytes <= WHOLE

    @property
    def _block(self) -> int:
        return max(1, BLOCK // self.row_bytes)

    @property
    def _window(self) -> int:
        return max(1, WINDOW // (self._block * self.row_bytes)) * self._block


@lru_cache(maxsize=2)
def _order(shuffle: Shuffle, epoch: int) -> NDArray[np.int64]:
    generator = np.random.default_rng([shuffle.seed, epoch])
    if shuffle.is_whole:
        order = generator.permutation(shuffle.rows)
    else:
        starts = generator.permutation(np.arange(0, shuffle.rows, shuffle._block))
        pieces = starts[:, None] + np.arange(shuffle._block)
        order = pieces[pieces < shuffle.rows]
        for start in range(0, shuffle.rows, shuffle._window):
            generator.shuffle(order[start : start + shuffle._window])
    order.setflags(write=False)
    return order


@lru_cache(maxsize=2)
def _blocks(shuffle: Shuffle, epoch: int, window: int) -> NDArray[np.int64]:
    """Numbers of the blocks that a window's rows lie in."""
    order = shuffle.order(epoch)[window * shuffle._window : (window + 1) * shuffle._window]
    return np.unique(order // shuffle._block)


def read_ahead(images: NDArray[np.uint8], ranges: Ranges) -> None:
    """Ask the system to read pieces of a mapped array before they are used; returns at once.

    Args:
        images: An array, mapped or not, or a `Selection` of one.
        ranges: First and one-past-last row of each piece.
    """
    if not isinstance(images.base, mmap.mmap):
        return
    for first, last in ranges:
        if isinstance(images, Selection):
            first, last = int(images.rows[first]), int(images.rows[last - 1]) + 1
        begin = images.offset + first * images.strides[0]
        begin -= begin % mmap.PAGESIZE
        end = images.offset + last * images.strides[0]
        images.base.madvise(mmap.MADV_WILLNEED, begin, end - begin)
