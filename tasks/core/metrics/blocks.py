"""Rows of a large array, a block at a time that stays in the CPU's cache."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BYTES = 1 << 20


def rows(array: NDArray[np.generic], most: int = BYTES) -> Iterator[slice]:
    """Slices of the rows of an array (N, ...) that take at most `most` bytes, but one row at least."""
    row_bytes = max(1, int(np.prod(array.shape[1:])) * array.itemsize)
    step = max(1, most // row_bytes)
    return (slice(start, start + step) for start in range(0, len(array), step))
