"""The order in which training sees the images: a full shuffle, or one of windows where they don't fit memory.

A larger split is shuffled at two levels: blocks of neighbouring rows in random order, and the rows of some
blocks, a window, among each other. What is read at a time then lies in a few large pieces of the file, and
only a window has to be in memory. Since normalize writes rows in an order that is random with respect to
class, little of the randomness is lost.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Blocks:
    """The blocks that a window consists of.

    Args:
        numbers: int64 (n,); which blocks, ascending.
        size: Rows of a block; the last of a split may have fewer.
        rows: Of the split.
    """

    numbers: NDArray[np.int64]
    size: int
    rows: int

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """First and one-past-last row of each."""
        firsts = (self.numbers * self.size).tolist()
        return [(first, min(first + self.size, self.rows)) for first in firsts]

    def positions(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these rows are once the blocks are laid one after the other."""
        return np.searchsorted(self.numbers, rows // self.size) * self.size + rows % self.size


@dataclass(frozen=True)
class Shuffle:
    """The order of a split's images in each epoch: follows from the seed and the epoch alone.

    Args:
        seed: Everything random follows from it.
        rows: Number of images.
        row_bytes: Of an image.
        whole_bytes: A split up to this size is shuffled as a whole,
        window_bytes: of a larger one, so much among each other,
        block_bytes: in pieces of neighbouring rows of this size.
    """

    seed: int
    rows: int
    row_bytes: int
    full_shuffle_bytes: int = 256 << 20
    window_bytes: int = 128 << 20
    block_bytes: int = 4 << 20

    def order(self, epoch: int) -> NDArray[np.int64]:
        """All row numbers in the order of an epoch, counted from 0; read-only."""
        return _order(self, epoch)

    def windows(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The window, counted from 0, that each place of an epoch's order lies in."""
        return places // self.window

    def following(self, epoch: int, window: int) -> tuple[int, int]:
        """The window after that one: the next epoch's first follows the last."""
        return (epoch, window + 1) if (window + 1) * self.window < self.rows else (epoch + 1, 0)

    def blocks(self, epoch: int, window: int) -> Blocks:
        """The blocks that a window consists of."""
        rows = self.order(epoch)[window * self.window : (window + 1) * self.window]
        return Blocks(np.unique(rows // self.block), self.block, self.rows)

    @property
    def is_full_shuffle(self) -> bool:
        """Whether all rows are shuffled among each other."""
        return self.rows * self.row_bytes <= self.full_shuffle_bytes

    @property
    def block(self) -> int:
        """Rows of a block."""
        return max(1, self.block_bytes // self.row_bytes)

    @property
    def window(self) -> int:
        """Rows of a window."""
        return max(1, self.window_bytes // (self.block * self.row_bytes)) * self.block


@lru_cache(maxsize=2)
def _order(shuffle: Shuffle, epoch: int) -> NDArray[np.int64]:
    generator = np.random.default_rng([shuffle.seed, epoch])
    if shuffle.is_full_shuffle:
        order = generator.permutation(shuffle.rows)
    else:
        starts = generator.permutation(np.arange(0, shuffle.rows, shuffle.block))
        pieces = starts[:, None] + np.arange(shuffle.block)
        order = pieces[pieces < shuffle.rows]
        for start in range(0, shuffle.rows, shuffle.window):
            generator.shuffle(order[start : start + shuffle.window])
    order.setflags(write=False)
    return order
