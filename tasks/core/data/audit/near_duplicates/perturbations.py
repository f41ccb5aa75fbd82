"""Perturbed copies of images: shifted, recompressed or brightened, as near duplicates are in practice."""

from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray

MAX_SHIFT = 2  # pixels in an image of 32 pixels a side
# In units of `MAX_SHIFT`, from the upper left.
POSITIONS = [(down, across) for down in range(3) for across in range(3)]
SHIFTS = [position for position in POSITIONS if position != (1, 1)]
QUALITY = (50, 75)  # of JPEG compression
BRIGHTNESS = (0.9, 1.1)  # factors


@dataclass(frozen=True)
class Perturbations:
    """Random perturbations of N images: drawn for all of them, applied to a few at a time.

    Args:
        gains: float64 (N, 1, 1, 1); brightness factors.
        qualities: int64 (N,); JPEG qualities.
        moves: int64 (2, N, 2); two of `SHIFTS` for each image.
    """

    gains: NDArray[np.float64]
    qualities: NDArray[np.int64]
    moves: NDArray[np.int64]

    @classmethod
    def drawn(cls, count: int, generator: np.random.Generator) -> "Perturbations":
        """Draw perturbations for `count` images."""
        gains = generator.uniform(*BRIGHTNESS, (count, 1, 1, 1))
        qualities = generator.integers(*QUALITY, count)
        moves = np.array(SHIFTS)[generator.integers(len(SHIFTS), size=(2, count))]
        return cls(gains, qualities, moves)

    def of(self, images: NDArray[np.uint8], part: slice) -> dict[str, NDArray[np.uint8]]:
        """Perturbed copies of images: shifted (twice), recompressed, and brightened or darkened.

        Args:
            images: uint8 (n, H, W, C); the images of `part`.
            part: Which of the N images they are.

        Returns:
            uint8 (n, H, W, C) by kind of perturbation.
        """
        shifted, shifted_again = (_shifted(images, moves[part]) for moves in self.moves)
        return {
            "shifted": shifted,
            "shifted again": shifted_again,
            "recompressed": np.stack(list(map(_recompressed, images, self.qualities[part].tolist()))),
            "brightened": np.clip(np.rint(images * self.gains[part]), 0, 255).astype(np.uint8),
        }


def _shifted(images: NDArray[np.uint8], moves: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Shift by `MAX_SHIFT` 32nds of a side, down, across or both; the edge pixels are repeated."""
    height, width = images.shape[1:3]
    down, across = (round(MAX_SHIFT * side / 32) for side in (height, width))
    padded = np.pad(images, ((0, 0), (down, down), (across, across), (0, 0)), "edge")
    shifted = np.empty_like(images)
    for top, left in SHIFTS:
        rows = np.flatnonzero((moves == (top, left)).all(1))
        y, x = top * down, left * across
        shifted[rows] = padded[rows, y : y + height, x : x + width]
    return shifted


def _recompressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """By libjpeg as Pillow does, in a tenth of its time for small images."""
    space, sampling = ("GRAY", "Gray") if image.shape[-1] == 1 else ("RGB", "420")
    content = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, space, sampling, fastdct=False)
    return np.asarray(simplejpeg.decode_jpeg(content, space)).reshape(image.shape)
