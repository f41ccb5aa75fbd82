"""The format of datasets that store images as arrays: classes, shape and parts.

It is written into the raw dataset's manifest. The normalize stage therefore does not read the catalog, and a
new entry there changes no digest.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ArrayFormat:
    """The format of a dataset whose images are not files of their own.

    Args:
        classes: Class names in the order of the labels.
        shape: Height, width and channels of an image.
        members: Which part belongs to which split, as (part, split) pairs. A part is a member of a CIFAR
            archive, or "train" for idx files called train-images-... and train-labels-....
        label_bytes: Label bytes in front of each image of a CIFAR archive; the last one is the label.
    """

    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    members: tuple[tuple[str, str], ...] = ()
    label_bytes: int = 1

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON values, for the manifest."""
        return asdict(self)

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> "ArrayFormat":
        """Build from the JSON values that `as_json` gives."""
        height, width, channels = value["shape"]
        return cls(
            classes=tuple(value["classes"]),
            shape=(height, width, channels),
            members=tuple((member, split) for member, split in value["members"]),
            label_bytes=value["label_bytes"],
        )


class Block(NamedTuple):
    """Consecutive images of one part.

    Args:
        part: The part's name, as in `ArrayFormat.members`.
        split: "train", "val", "test", or "" where the source has no splits.
        images: uint8 (n, H, W, C).
        labels: int32 (n,), 0..classes-1.
    """

    part: str
    split: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
