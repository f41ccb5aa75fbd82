"""The order in which training reads the images: a full shuffle, or a shuffle in windows for larger splits.

A larger split is shuffled at two levels: the blocks of neighbouring rows are in random order, and the rows of
a window, which consists of some blocks, are shuffled. Each read then covers a few large pieces of the file,
and only one window must be in memory. The normalize stage writes rows in an order that is random with respect
to class, so that little of the randomness is lost.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Blocks:
    """The blocks of a window.

    Args:
        numbers: int64 (n,); which blocks, ascending.
        size: Rows of a block; the last block of a split may have fewer.
        rows: Rows of the split.
    """

    numbers: NDArray[np.int64]
    size: int
    rows: int

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """The first row of each block, and the row after its last."""
        firsts = (self.numbers * self.size).tolist()
        return [(first, min(first + self.size, self.rows)) for first in firsts]

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of these rows in the concatenation of the blocks: int64 (n,)."""
        return np.searchsorted(self.numbers, rows // self.size) * self.size + rows % self.size


@dataclass(frozen=True)
class Shuffle:
    """The order of a split's images in each epoch. It depends on the seed and the epoch only.

    Args:
        seed: Seed of all randomness.
        rows: Number of images.
        row_bytes: Bytes of an image.
        full_shuffle_bytes: A split up to this size gets a full shuffle.
        window_bytes: Size of a window of a larger split.
        block_bytes: Size of a block of neighbouring rows, the unit of reading.
    """

    seed: int
    rows: int
    row_bytes: int
    full_shuffle_bytes: int = 256 << 20
    window_bytes: int = 128 << 20
    block_bytes: int = 4 << 20

    def order(self, epoch: int) -> NDArray[np.int64]:
        """All row numbers in the order of an epoch, int64 (rows,), read-only. Epochs count from 0."""
        return _order(self, epoch)

    def windows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The window of each position in an epoch's order, counted from 0: int64 (n,)."""
        return positions // self.window

    def following(self, epoch: int, window: int) -> tuple[int, int]:
        """Epoch and window after this one. The last window is followed by the next epoch's first."""
        return (epoch, window + 1) if (window + 1) * self.window < self.rows else (epoch + 1, 0)

    def blocks(self, epoch: int, window: int) -> Blocks:
        """The blocks of a window."""
        rows = self.order(epoch)[window * self.window : (window + 1) * self.window]
        return Blocks(np.unique(rows // self.block), self.block, self.rows)

    @property
    def is_full_shuffle(self) -> bool:
        """Whether the split is small enough for a full shuffle."""
        return self.rows * self.row_bytes <= self.full_shuffle_bytes

    @property
    def block(self) -> int:
        """Number of rows of a block."""
        return max(1, self.block_bytes // self.row_bytes)

    @property
    def window(self) -> int:
        """Number of rows of a window."""
        return max(1, self.window_bytes // (self.block * self.row_bytes)) * self.block


@lru_cache(maxsize=2)
def _order(shuffle: Shuffle, epoch: int) -> NDArray[np.int64]:
    generator = np.random.default_rng([shuffle.seed, epoch])
    if shuffle.is_full_shuffle:
        order = generator.permutation(shuffle.rows)
    else:
        starts = generator.permutation(np.arange(0, shuffle.rows, shuffle.block))
        rows = starts[:, None] + np.arange(shuffle.block)
        order = rows[rows < shuffle.rows]
        for start in range(0, shuffle.rows, shuffle.window):
            generator.shuffle(order[start : start + shuffle.window])
    order.setflags(write=False)
    return order
