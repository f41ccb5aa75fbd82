"""All images of a tensor cache under one numbering: train, then val, then test."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.audit import descriptors
from tasks.core.data.audit.descriptors import Floats
from tasks.core.data.loader import mmap
from tasks.core.data.tensors.cache import SPLITS, Split, open_split
from tasks.core.stage.handles import TensorCache


@dataclass(frozen=True)
class ImageSet:
    """The images of all splits, memory-mapped and numbered consecutively."""

    splits: tuple[Split, ...]

    @classmethod
    def of(cls, tensors: TensorCache) -> "ImageSet":
        """Map the splits of a tensor cache into memory."""
        return cls(tuple(open_split(tensors, split) for split in SPLITS))

    @cached_property
    def sizes(self) -> list[int]:
        """Number of images in each split."""
        return [len(split.labels) for split in self.splits]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The number of each split's first image, and the number of all images: int64 (4,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)])

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """The labels of all images, int32 (N,)."""
        return np.concatenate([split.labels for split in self.splits])

    def numbers(self, rows: pa.Table) -> NDArray[np.int64]:
        """The image number of each row of a table with columns `split` and `row`: int64 (n,)."""
        splits = pc.index_in(rows["split"], pa.array(SPLITS)).to_numpy()
        return rows["row"].to_numpy() + self.starts[splits]

    def contents(self, rows: pa.Table) -> NDArray[np.int64]:
        """A number for each image, the same for images of one content: int64 (N,).

        Args:
            rows: Columns `split`, `row` and `image_id` of all images.
        """
        contents = np.empty(len(rows), np.int64)
        codes = rows["image_id"].combine_chunks().dictionary_encode().indices
        contents[self.numbers(rows)] = codes.to_numpy()
        return contents

    def take(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images with these numbers, in this order: uint8 (len(numbers), H, W, C)."""
        images = np.empty((len(numbers), *self.splits[0].images.shape[1:]), np.uint8)
        for split, first, end in zip(self.splits, self.starts, self.starts[1:], strict=False):
            in_split = (numbers >= first) & (numbers < end)
            if in_split.all():
                return mmap.read_rows(split.images, numbers - first)
            images[in_split] = mmap.read_rows(split.images, numbers[in_split] - first)
        return images

    def reduced(
        self, numbers: NDArray[np.int64], height: int = descriptors.SIDE, width: int = descriptors.SIDE
    ) -> Floats:
        """As `take`, averaged down by `descriptors.reduced`. One portion is in memory at full size."""
        parts = descriptors.portions(len(numbers), int(np.prod(self.splits[0].images.shape[1:])))
        return descriptors.joined(
            [descriptors.reduced(self.take(numbers[part]), height, width) for part in parts]
        )


@dataclass(frozen=True)
class ImageSubset:
    """Some of the images, read when they are indexed.

    Args:
        image_set: All images.
        numbers: int64 (n,); which of them.
        height, width: Larger images are averaged down to this size, in pixels.
    """

    image_set: ImageSet
    numbers: NDArray[np.int64]
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        images = self.image_set.reduced(self.numbers[rows], self.height, self.width)
        return np.rint(images).astype(np.uint8)
