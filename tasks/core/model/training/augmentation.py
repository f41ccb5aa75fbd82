"""Varying the training images, on whole windows of uint8 and as a pure function of (seed, epoch, rows)."""

import numpy as np
from numpy.typing import NDArray


def shift(
    images: NDArray[np.uint8], rows: NDArray[np.int64], seed: int, epoch: int, reach: int
) -> NDArray[np.uint8]:
    """Mirror colour images in every other epoch and shift all images by a few pixels.

    Alternating flips: half of the images start mirrored and each changes sides every epoch, so that two
    epochs show both sides once (Jordan, arXiv 2404.00498). Grey images are digits, scans or text as often
    as not, which a mirror makes into something else: they are only shifted.

    Args:
        images: uint8 (N, H, W, C).
        rows: int64 (N,), the images' row numbers: what happens to an image depends on its row, not on its
            place in the window.
        seed: Of the training.
        epoch: Counted from 0.
        reach: Largest shift in pixels for sides of 32 and more; smaller images are shifted by at most a
            sixteenth of their side.

    Returns:
        uint8 (N, H, W, C), a new array.
    """
    if images.shape[3] == 3:
        mirrored = (_hash(rows, seed) + epoch) % 2 == 1
        images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    reach = min(reach, min(images.shape[1:3]) // 16)
    return _moved(images, _hash(rows, seed + 7919 * (epoch + 1)), reach) if reach else images


def _moved(images: NDArray[np.uint8], draws: NDArray[np.int64], reach: int) -> NDArray[np.uint8]:
    count, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    places = 2 * reach + 1
    moved = np.empty((count, height, width, channels), np.uint8)
    place = draws % places**2
    for number in range(places**2):
        chosen = np.flatnonzero(place == number)
        top, left = divmod(number, places)
        moved[chosen] = padded[chosen, top : top + height, left : left + width]
    return moved


def _hash(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A well-mixed non-negative number for each row (splitmix64, Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = rows.astype(np.uint64) + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((mixed ^ (mixed >> np.uint64(31))) >> np.uint64(2)).astype(np.int64)
