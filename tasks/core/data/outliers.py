"""Images that stand out by their brightness, or that show nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data import descriptors
from tasks.core.data.descriptors import Floats

FENCE = 3.0  # interquartile ranges beyond the quartiles: "far out" (Tukey, 1977)
EMPTY = 2.0  # grey levels; a deviation of the light below this is noise


@dataclass(frozen=True)
class Light:
    """How bright and how rich in contrast images are.

    Args:
        mean: float32 (N,), 0..255; mean of the luma.
        deviation: float32 (N,); its standard deviation.
    """

    mean: Floats
    deviation: Floats

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> "Light":
        """Of images uint8 (N, H, W, C), averaged down to `descriptors.SIDE` pixels; may be memory-mapped."""
        lights = [descriptors.light_of(block) for block in descriptors.blocks(images)]
        means, deviations = ([getattr(light, name)((1, 2)) for light in lights] for name in ("mean", "std"))
        return cls(np.concatenate(means), np.concatenate(deviations))

    @property
    def empty(self) -> NDArray[np.bool_]:
        """Which images are all but one colour."""
        return self.deviation < EMPTY

    @property
    def unusual(self) -> NDArray[np.bool_]:
        """Which images are far darker or brighter than most."""
        low, high = np.quantile(self.mean, [0.25, 0.75])
        reach = FENCE * (high - low)
        return (self.mean < low - reach) | (self.mean > high + reach)
