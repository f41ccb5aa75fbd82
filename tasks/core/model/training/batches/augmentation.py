"""Augmentation of training images: whole windows of uint8, a pure function of seed, draw and row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Draws = int | NDArray[np.int64]


def shift(
    images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int, draw: Draws, max_shift: int
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
        draw: The epoch, counted from 0, or another number of the draw; one for all images or int64 (N,).
        max_shift: Largest shift in pixels for sides of 32 and more; smaller images are shifted by at most a
            sixteenth of their side.

    Returns:
        uint8 (N, H, W, C), a new array.
    """
    mirrored, shifts = draws(rows, seed, draw, max_shift, images.shape[1:])
    chosen = np.flatnonzero(mirrored)
    reversed_rows, images = images[chosen, :, ::-1], images.copy()
    for channel in range(images.shape[3] if len(chosen) else 0):  # a fourth of the time of all at once
        images[chosen, :, :, channel] = reversed_rows[..., channel]
    return _shifted(images, shifts, largest_shift(max_shift, images.shape[1:]))


def draws(
    rows: NDArray[np.int64], seed: int, draw: Draws, max_shift: int, shape: tuple[int, ...]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """What `shift` does to images; the arguments are its own.

    Args:
        rows: int64 (N,).
        seed: Seed of the training.
        draw: The epoch, counted from 0, or another number of the draw; one for all images or int64 (N,).
        max_shift: Largest shift in pixels.
        shape: Height, width and channels of the images.

    Returns:
        Whether each image is mirrored, bool (N,), and the pixel of the mirrored image, down and right, at
        which the shifted one begins, int64 (N, 2), -largest_shift..largest_shift.
    """
    mirrored = np.zeros(len(rows), bool)
    if shape[2] == 3:
        mirrored = (_hash(rows, seed) + draw) % 2 == 1
    largest = largest_shift(max_shift, shape)
    drawn = _hash(rows, seed + 7919 * (draw + 1)) % (2 * largest + 1) ** 2
    return mirrored, np.stack(np.divmod(drawn, 2 * largest + 1), axis=1) - largest


def largest_shift(max_shift: int, shape: tuple[int, ...]) -> int:
    """The largest shift of images of this shape (H, W, C), in pixels: at most a sixteenth of their side."""
    return min(max_shift, min(shape[:2]) // 16)


def choose_view(views: NDArray[Any], rows: NDArray[np.int64], seed: int, draw: Draws) -> NDArray[Any]:
    """One of the views of each image, another one in every other epoch, as `shift` mirrors.

    Args:
        views: (N, views, ...) of any type.
        rows: int64 (N,), row numbers of the images.
        seed: Seed of the training.
        draw: The epoch, counted from 0, or another number of the draw; one for all images or int64 (N,).

    Returns:
        (N, ...), a new array.
    """
    return views[np.arange(len(views)), (_hash(rows, seed) + draw) % views.shape[1]]


def _shifted(images: NDArray[np.uint8], shifts: NDArray[np.int64], largest: int) -> NDArray[np.uint8]:
    if not largest:
        return images
    count, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (largest, largest), (largest, largest), (0, 0)), mode="reflect")
    shifted = np.empty((count, height, width, channels), np.uint8)
    for down in range(-largest, largest + 1):
        for right in range(-largest, largest + 1):
            indices = np.flatnonzero((shifts[:, 0] == down) & (shifts[:, 1] == right))
            top, left = down + largest, right + largest
            shifted[indices] = padded[indices, top : top + height, left : left + width]
    return shifted


def _hash(rows: NDArray[np.int64], seed: Draws) -> NDArray[np.int64]:
    """Hash each row number to a non-negative number (splitmix64, Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = rows.astype(np.uint64) + np.asarray(seed + 1).astype(np.uint64) * np.uint64(
            0x9E3779B97F4A7C15
        )
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(2)).astype(np.int64)
