"""Images that differ far from the rest in brightness or size, and images of a single colour."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit import descriptors
from tasks.core.data.audit.descriptors import Floats

FENCE = 3.0  # interquartile ranges beyond the quartiles: "far out" (Tukey, 1977)
EMPTY = 2.0  # grey levels; a smaller standard deviation of every channel is noise


@dataclass(frozen=True)
class Brightness:
    """Brightness and contrast of images.

    Args:
        mean: float32 (N,), 0..255; mean of the luma.
        deviation: float32 (N,); standard deviation of the luma.
        of_channel: float32 (N,); that of the channel with the largest, where that of the luma is
            below `EMPTY`: red on green may have one luma. Elsewhere the same as `deviation`.
    """

    mean: Floats
    deviation: Floats
    of_channel: Floats

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> "Brightness":
        """Measure images uint8 (N, H, W, C), averaged down to `descriptors.SIDE`; may be memory-mapped."""
        return cls.join([cls._of_block(block) for block in descriptors.blocks(images)])

    @classmethod
    def _of_block(cls, images: Floats) -> "Brightness":
        pixels = descriptors.luma(images).reshape(len(images), -1)  # one axis: half the time of two
        mean = pixels.mean(1)
        rest = pixels - mean[:, None]
        squares = np.einsum("np,np->n", rest, rest)
        deviation = np.sqrt(squares / np.float32(pixels.shape[1]))
        of_channel, is_flat = deviation.copy(), deviation < EMPTY
        flat = images[is_flat]
        of_channel[is_flat] = flat.reshape(len(flat), pixels.shape[1], -1).std(1).max(1) if len(flat) else 0
        return cls(mean, deviation, of_channel)

    @classmethod
    def join(cls, parts: Sequence["Brightness"]) -> "Brightness":
        """The measurements of several groups of images as one."""
        columns = zip(*((part.mean, part.deviation, part.of_channel) for part in parts), strict=True)
        return cls(*map(np.concatenate, columns))

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which images have a single colour, apart from noise: bool (N,)."""
        return self.of_channel < EMPTY

    @property
    def unusual(self) -> NDArray[np.bool_]:
        """Which images are far darker or brighter than most: bool (N,)."""
        return outside_tukey_fence(self.mean)


@dataclass(frozen=True)
class Sizes:
    """Original sizes of images, after orientation.

    Args:
        height, width: int32 (N,); pixels.
    """

    height: NDArray[np.int32]
    width: NDArray[np.int32]

    def enlarged(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which images had fewer pixels, down or across, than the tensors have: bool (N,)."""
        return (self.height < height) | (self.width < width)

    @property
    def unusual(self) -> NDArray[np.bool_]:
        """Which images are far longer, wider, larger or smaller than most: bool (N,).

        Logarithms are compared, since sizes differ by factors.
        """
        log_height, log_width = np.log(self.height), np.log(self.width)
        return outside_tukey_fence(log_height + log_width) | outside_tukey_fence(log_height - log_width)


def outside_tukey_fence(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which values lie more than `FENCE` interquartile ranges beyond the quartiles: bool (N,)."""
    low, high = np.quantile(values, [0.25, 0.75])
    margin = FENCE * (high - low)
    return (values < low - margin) | (values > high + margin)
