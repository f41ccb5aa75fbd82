"""Augmentation of training images: whole windows of uint8, a pure function of seed, epoch and row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shift(
    images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int, epoch: int, max_shift: int
) -> NDArray[np.uint8]:
    """Mirror colour images in every other epoch and shift all images by a few pixels.

    Flips alternate (Jordan, arXiv 2404.00498): half of the images start mirrored, and each image is flipped
    in every epoch, so that two epochs show both sides once. Grey images are often digits, scans or text,
    which mirroring would turn into something else. They are only shifted.

    Args:
        images: uint8 (N, H, W, C).
        rows: int64 (N,), row numbers of the images. The augmentation of an image depends on its row, not on
            its index in the window.
        seed: Seed of the training.
        epoch: Epoch, counted from 0.
        max_shift: Largest shift in pixels for sides of 32 and more; smaller images are shifted by at most a
            sixteenth of their side.

    Returns:
        uint8 (N, H, W, C), a new array.
    """
    if images.shape[3] == 3:
        mirrored = np.flatnonzero((_hash(rows, seed) + epoch) % 2)
        reversed_rows, images = images[mirrored, :, ::-1], images.copy()
        for channel in range(3):  # a fourth of the time of all three at once
            images[mirrored, :, :, channel] = reversed_rows[..., channel]
    max_shift = min(max_shift, min(images.shape[1:3]) // 16)
    return _shifted(images, _hash(rows, seed + 7919 * (epoch + 1)), max_shift) if max_shift else images


def choose_view(views: NDArray[Any], rows: NDArray[np.int64], seed: int, epoch: int) -> NDArray[Any]:
    """One of the views of each image, another one in every other epoch, as `shift` mirrors.

    Args:
        views: (N, views, ...) of any type.
        rows: int64 (N,), row numbers of the images.
        seed: Seed of the training.
        epoch: Epoch, counted from 0.

    Returns:
        (N, ...), a new array.
    """
    return views[np.arange(len(views)), (_hash(rows, seed) + epoch) % views.shape[1]]


def _shifted(images: NDArray[np.uint8], draws: NDArray[np.int64], max_shift: int) -> NDArray[np.uint8]:
    count, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (max_shift, max_shift), (max_shift, max_shift), (0, 0)), mode="reflect")
    shifts = 2 * max_shift + 1
    shifted = np.empty((count, height, width, channels), np.uint8)
    drawn = draws % shifts**2
    for number in range(shifts**2):
        indices = np.flatnonzero(drawn == number)
        top, left = divmod(number, shifts)
        shifted[indices] = padded[indices, top : top + height, left : left + width]
    return shifted


def _hash(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Hash each row number to a non-negative number (splitmix64, Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = rows.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(2)).astype(np.int64)
