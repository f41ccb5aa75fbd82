"""Sources whose images are arrays already: the bundled digits, CIFAR's archives, idx files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.data.readers import cifar, idx
from tasks.core.data.readers.array_format import ArrayFormat, Block
from tasks.core.data.readers.base import DecodedImage, DecodeFailure, ImageIndex, ImageRef


class ArrayReader:
    """A published dataset of arrays, read through once for its rows and once for its images.

    Args:
        kind: "digits", "cifar" or "idx".
        form: Classes, shape and parts.
        files: The dataset's files by name.

    Raises:
        ArchiveError: While reading, if a file isn't as its format says.
    """

    published = True
    random_access = False

    def __init__(self, kind: str, form: ArrayFormat, files: Mapping[str, Path]) -> None:
        self.classes, self.shape = form.classes, form.shape
        self._kind, self._form, self._files = kind, form, files

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

    def _blocks(self) -> Iterator[Block]:
        if self._kind == "digits":
            return _digits()
        if self._kind == "idx":
            return idx.blocks(self._files, self._form)
        (path,) = self._files.values()
        return cifar.blocks(path, self._form)


def _digits() -> Iterator[Block]:
    """The 1,797 handwritten digits inside scikit-learn (8x8, 17 grey levels, from UCI's optdigits)."""
    from sklearn.datasets import load_digits  # half a second, for this source only

    bunch = load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    yield Block("digits", "", images, bunch.target.astype(np.int32))
