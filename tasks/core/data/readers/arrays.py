"""Sources whose images are arrays already, and the first of them: the bundled digits."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.data.readers.array_format import ArrayFormat, Block
from tasks.core.data.readers.base import DecodedImage, DecodeFailure, ImageIndex, ImageRef


class ArrayReader:
    """A published dataset of arrays, read through once for its rows and once for its images.

    Args:
        form: Classes, shape and parts.
        blocks: Begins to read the images from the first one, some thousand at a time.

    Raises:
        ArchiveError: While reading, if a file isn't as its format says.
    """

    published = True
    random_access = False

    def __init__(self, form: ArrayFormat, blocks: Callable[[], Iterator[Block]]) -> None:
        self.classes, self.shape = form.classes, form.shape
        self._blocks = blocks

    def count(self) -> int:
        """Read everything, checking it on the way, and count the images."""
        return sum(len(block.labels) for block in self._blocks())

    def index(self) -> ImageIndex:
        return ImageIndex.of(self._rows())

    def _rows(self) -> Iterator[ImageRef]:
        numbers: dict[str, int] = {}
        for block in self._blocks():
            first = numbers.get(block.part, 0)
            for number, (image, label) in enumerate(zip(block.images, block.labels, strict=True), first):
                identity = hashlib.sha256(image.tobytes()).hexdigest()
                yield ImageRef(identity, f"{block.part}#{number}", block.split, int(label))
            numbers[block.part] = first + len(block.labels)

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        asked, row = set(wanted), -1
        for block in self._blocks():
            for image in block.images:
                row += 1
                if row in asked:
                    yield DecodedImage(row, decode.resize_and_convert(image, target), self.shape)


def open_digits(_: Mapping[str, Path], form: ArrayFormat) -> ArrayReader:
    """The reader of the bundled digits, which need no file of their own."""
    return ArrayReader(form, _digits)


def _digits() -> Iterator[Block]:
    """The 1,797 handwritten digits inside scikit-learn (8x8, 17 grey levels, from UCI's optdigits)."""
    from sklearn.datasets import load_digits  # half a second, for this source only

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    yield Block("digits", "", images, bunch.target.astype(np.int32))
