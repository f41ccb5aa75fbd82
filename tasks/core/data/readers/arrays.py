"""A reader for sources that store images as arrays, and the bundled digits."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.data.readers.array_format import ArrayFormat, Block
from tasks.core.data.readers.base import DecodedImage, DecodeFailure, ImageIndex, ImageRef


class ArrayReader:
    """A published dataset of arrays. It is read once for the index and once for the images.

    Args:
        array_format: Classes, shape and parts.
        blocks: Starts reading at the first image; yields some thousand images at a time.

    Raises:
        ArchiveError: While reading, if a file violates its format.
    """

    published = True
    random_access = False

    def __init__(self, array_format: ArrayFormat, blocks: Callable[[], Iterator[Block]]) -> None:
        self.classes, self.shape = array_format.classes, array_format.shape
        self._blocks = blocks

    def count(self) -> int:
        """Read and check everything. Returns the number of images."""
        return sum(len(block.labels) for block in self._blocks())

    def index(self) -> ImageIndex:
        """All images, in the order of the parts; reads everything once."""
        return ImageIndex.of(self._rows())

    def _rows(self) -> Iterator[ImageRef]:
        next_number: dict[str, int] = {}
        for block in self._blocks():
            first = next_number.get(block.part, 0)
            for number, (image, label) in enumerate(zip(block.images, block.labels, strict=True), first):
                image_id = hashlib.sha256(image.tobytes()).hexdigest()
                yield ImageRef(image_id, f"{block.part}#{number}", block.split, int(label))
            next_number[block.part] = first + len(block.labels)

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """Read everything once and yield the wanted images in ascending order."""
        wanted_rows, row = set(wanted), -1
        for block in self._blocks():
            for image in block.images:
                row += 1
                if row in wanted_rows:
                    yield DecodedImage(row, decode.resize_and_convert(image, target), self.shape)

    def blocks(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader.blocks`: one by one."""
        return self.images(wanted, target)

    def files(self, wanted: Sequence[int]) -> Iterator[None]:
        """See `Reader.files`: these images are no files."""
        return (None for _ in wanted)


def open_digits(_: Mapping[str, Path], array_format: ArrayFormat) -> ArrayReader:
    """The reader of the bundled digits, which need no file."""
    return ArrayReader(array_format, _digits)


def _digits() -> Iterator[Block]:
    """The 1,797 handwritten digits inside scikit-learn (8x8, 17 grey levels, from UCI's optdigits)."""
    from sklearn.datasets import load_digits  # imported late: it takes half a second

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    yield Block("digits", "", images, bunch.target.astype(np.int32))
