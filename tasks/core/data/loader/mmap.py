"""Reading rows of a memory-mapped array without keeping the file in the process's memory."""

import mmap
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import RowView

PART = 256  # rows that are gathered at a time where they are decoded when they are indexed
PIECE = 128 << 10  # bytes per madvise call; Linux reads at most a device's read-ahead for each


def read_rows(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A new array of `images[rows]`.

    Rows of a mapped file are read from it: a page fault would map 64 KiB around a row, 60 MB for 256 random
    rows of CIFAR-10, and take twice the time.

    Args:
        images: uint8 (N, H, W, C), memory-mapped or not.
        rows: int64 (n,), 0..N-1, in any order.
    """
    gathered = np.empty((len(rows), *images.shape[1:]), images.dtype)
    array, numbers = (images.array, images.rows[rows]) if isinstance(images, RowView) else (images, rows)
    if not (len(rows) and _is_file(array) and _is_read(array, numbers, gathered)):
        for start in range(0, len(rows), PART):
            gathered[start : start + PART] = images[rows[start : start + PART]]
    release_pages(images)
    return gathered


def _is_file(array: Any) -> TypeGuard["np.memmap[Any, Any]"]:
    """Whether an array is a mapped file as NumPy opened it, no part of one."""
    if not (isinstance(array, np.memmap) and isinstance(array.base, mmap.mmap) and array.filename):
        return False
    mapped = array.offset % mmap.ALLOCATIONGRANULARITY + array.nbytes
    return array.flags.c_contiguous and len(array.base) == mapped


def _is_read(array: "np.memmap[Any, Any]", rows: NDArray[np.int64], out: NDArray[Any]) -> bool:
    """Read rows of a file into `out`, neighbours in one piece; false if the map has to be used."""
    size, content = array.strides[0], out.reshape(-1).view(np.uint8).data
    firsts = np.flatnonzero(np.diff(rows, prepend=rows[0] - 2) != 1)
    runs = zip(firsts.tolist(), rows[firsts].tolist(), [*firsts[1:].tolist(), len(rows)], strict=True)
    # A file that was removed meanwhile is still mapped.
    with suppress(FileNotFoundError), Path(str(array.filename)).open("rb", buffering=0) as file:
        return all(
            os.preadv(file.fileno(), [content[first * size : end * size]], array.offset + row * size)
            == (end - first) * size
            for first, row, end in runs
        )
    return False


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
    """Remove a mapped file's pages from the process's memory; the system's cache keeps them.

    Args:
        images: A mapped array, or a part of one; of another, nothing happens.
    """
    base = images.base
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
