"""Batches of a split that are small enough for one pass of a network."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.loader import mmap

# Values (pixels times channels) in a batch; bounds the memory of activations at any image size.
VALUES = 128 * 32 * 32 * 3


def batch_size(images: NDArray[np.uint8]) -> int:
    """Number of images in a batch of images uint8 (N, H, W, C)."""
    return max(1, VALUES // int(np.prod(images.shape[1:])))


def batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """The images in their order, uint8 (n, H, W, C) each."""
    size = batch_size(images)
    for start in range(0, len(images), size):
        yield mmap.read_rows(images, np.arange(start, min(start + size, len(images))))


def replica_rounds(
    images: NDArray[np.uint8], replicas: int, factor: int = 1
) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Row numbers that several replicas predict at once, and how many of them are new.

    The last round repeats the last row, so that all replicas have the same number of rows.

    Args:
        images: uint8 (N, H, W, C).
        replicas: Number of replicas.
        factor: Batches that a replica predicts at once.
    """
    size = batch_size(images) * replicas * factor
    for start in range(0, len(images), size):
        count = min(size, len(images) - start)
        padded = -(-count // replicas) * replicas
        yield np.minimum(np.arange(start, start + padded), len(images) - 1), count
