"""What a dataset's images are like, apart from where they come from.

It goes into the raw dataset's manifest, so that normalize needn't know the table of known datasets: one
more entry there changes no digest.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ArrayFormat:
    """The form of a dataset whose images aren't files of their own.

    Args:
        classes: Class names in the order of the labels.
        shape: Height, width and channels of an image.
        members: Which part belongs to which split, as (part, split) pairs. A part is a member of a CIFAR
            archive, or "train" for idx files called train-images-... and train-labels-....
        label_bytes: For CIFAR archives: label bytes in front of an image; the last one counts.
    """

    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    members: tuple[tuple[str, str], ...] = ()
    label_bytes: int = 1

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "ArrayFormat":
        height, width, channels = value["shape"]
        return cls(
            classes=tuple(value["classes"]),
            shape=(height, width, channels),
            members=tuple((member, split) for member, split in value["members"]),
            label_bytes=value["label_bytes"],
        )


class Block(NamedTuple):
    """Some images of one part, in their order there.

    Args:
        part: The part's name, as in `Form.members`.
        split: "train", "val", "test", or "" where the source has no splits.
        images: uint8 (n, H, W, C).
        labels: int32 (n,), 0..classes-1.
    """

    part: str
    split: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
