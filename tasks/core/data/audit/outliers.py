"""Images that stand out: by brightness or size, or because they show nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit import descriptors
from tasks.core.data.audit.descriptors import Floats

FENCE = 3.0  # interquartile ranges beyond the quartiles: "far out" (Tukey, 1977)
EMPTY = 2.0  # grey levels; a deviation of the light below this is noise


@dataclass(frozen=True)
class Brightness:
    """How bright and how rich in contrast images are.

    Args:
        mean: float32 (N,), 0..255; mean of the luma.
        deviation: float32 (N,); its standard deviation.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> "Brightness":
        """Of images uint8 (N, H, W, C), averaged down to `descriptors.SIDE` pixels; may be memory-mapped."""
        lights = map(descriptors.light_of, descriptors.blocks(images))
        return cls.join([cls(light.mean((1, 2)), light.std((1, 2))) for light in lights])

    @classmethod
    def join(cls, parts: Sequence["Brightness"]) -> "Brightness":
        means, deviations = [part.mean for part in parts], [part.deviation for part in parts]
        return cls(np.concatenate(means), np.concatenate(deviations))

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which images are all but one colour."""
        return self.deviation < EMPTY

    @property
    def unusual(self) -> NDArray[np.bool_]:
        """Which images are far darker or brighter than most."""
        return outside_tukey_fence(self.mean)


@dataclass(frozen=True)
class Sizes:
    """How large images were when they came, after orientation.

    Args:
        height, width: int32 (N,); pixels.
    """

    height: NDArray[np.int32]
    width: NDArray[np.int32]

    def enlarged(self, height: int, width: int) -> NDArray[np.bool_]:
        """Which images had fewer pixels, down or across, than the tensors have."""
        return (self.height < height) | (self.width < width)

    @property
    def unusual(self) -> NDArray[np.bool_]:
        """Which images are far longer, wider, larger or smaller than most; by factors, not differences."""
        tall, wide = np.log(self.height), np.log(self.width)
        return outside_tukey_fence(tall + wide) | outside_tukey_fence(tall - wide)


def outside_tukey_fence(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which values lie more than `FENCE` interquartile ranges beyond the quartiles."""
    low, high = np.quantile(values, [0.25, 0.75])
    reach = FENCE * (high - low)
    return (values < low - reach) | (values > high + reach)
