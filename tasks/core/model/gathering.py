"""Rows of a memory-mapped array as an array, without the file staying in the process's memory."""

import mmap

import numpy as np
from numpy.typing import NDArray

# Rows between which pages are given back: a page fault maps 64 KiB around it, so that 4,096 random rows of
# CIFAR-10 would bring in nearly all of its 138 MB.
PART = 256


def gather(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A new array of `images[rows]`."""
    gathered = np.empty((len(rows), *images.shape[1:]), images.dtype)
    for start in range(0, len(rows), PART):
        gathered[start : start + PART] = images[rows[start : start + PART]]
        forget(images)
    return gathered


def forget(images: NDArray[np.uint8]) -> None:
    """Take a mapped file's pages out of this process's memory; the system's cache keeps them."""
    if isinstance(images.base, mmap.mmap):
        images.base.madvise(mmap.MADV_DONTNEED)
