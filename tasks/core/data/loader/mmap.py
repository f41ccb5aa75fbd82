"""Reading rows of a memory-mapped array without keeping the file in the process's memory."""

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import RowView

# Rows after which pages are released. A page fault maps 64 KiB around it, so that 4,096 random rows of
# CIFAR-10 would map nearly all of its 138 MB.
PART = 256
PIECE = 128 << 10  # bytes per madvise call; Linux reads at most a device's read-ahead for each


def read_rows(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A new array of `images[rows]`.

    Args:
        images: uint8 (N, H, W, C), memory-mapped or not.
        rows: int64 (n,), 0..N-1, in any order.
    """
    gathered = np.empty((len(rows), *images.shape[1:]), images.dtype)
    for start in range(0, len(rows), PART):
        gathered[start : start + PART] = images[rows[start : start + PART]]
        release_pages(images)
    return gathered


def read(images: NDArray[np.uint8], first: int, last: int, out: NDArray[np.uint8]) -> None:
    """Copy `images[first:last]`, read sequentially, into `out`.

    Args:
        images: uint8 (N, H, W, C), memory-mapped or not.
        first, last: 0..N.
        out: uint8 (last - first, H, W, C).
    """
    read_ahead(images, first, last)
    out[:] = images[first:last]
    release_pages(images)


def read_ahead(images: NDArray[np.uint8], first: int, last: int) -> None:
    """Ask the system to read rows of an array before they are used; returns at once.

    Args:
        images: An array, mapped or not, or a `RowView` of one.
        first: The first row.
        last: One past the last row.
    """
    if not isinstance(images.base, mmap.mmap):
        return
    if isinstance(images, RowView):
        first, last = int(images.rows[first]), int(images.rows[last - 1]) + 1
    begin = images.offset + first * images.strides[0]
    begin -= begin % mmap.PAGESIZE
    end = images.offset + last * images.strides[0]
    for offset in range(begin, end, PIECE):
        images.base.madvise(mmap.MADV_WILLNEED, offset, min(PIECE, end - offset))


def release_pages(images: NDArray[Any]) -> None:
    """Remove a mapped file's pages from the process's memory; the system's cache keeps them."""
    if isinstance(images.base, mmap.mmap):
        images.base.madvise(mmap.MADV_DONTNEED)
