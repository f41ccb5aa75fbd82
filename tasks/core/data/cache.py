"""Reading the tensor cache. (Writing it is `tensors`; what only reads is not touched by its changes.)"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.handles import TensorCache

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """One split, memory-mapped.

    Args:
        images: uint8 (N, H, W, C), 0..255, rows in a fixed order that is random with respect to class.
        labels: int32 (N,), 0..classes-1.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]


def open_split(cache: TensorCache, split: str) -> Split:
    """Map one of "train", "val", "test" into memory; nothing is read before it is used."""
    return Split(
        images=np.load(cache.directory / f"{split}.images.npy", mmap_mode="r", allow_pickle=False),
        labels=np.load(cache.directory / f"{split}.labels.npy", mmap_mode="r", allow_pickle=False),
    )
