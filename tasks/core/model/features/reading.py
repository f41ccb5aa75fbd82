"""Reading features.

Computing them is in `embed`, apart from this module: a change of that code is then no ingredient of the
stages that only read.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.stage.handles import Features

Floats = NDArray[np.float32]


def open_features(features: Features, split: str) -> NDArray[np.float16]:
    """The features of a split, float16 (N, views, D), memory-mapped."""
    path = features.directory / f"{split}.features.npy"
    return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))


def averaged(features: NDArray[np.float16]) -> Floats:
    """The mean of the views, which a mirror image shares: float32 (N, D), of float16 (N, views, D)."""
    return np.asarray(np.asarray(features, np.float32).mean(axis=1), np.float32)
