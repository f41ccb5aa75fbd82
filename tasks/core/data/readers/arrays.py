"""A reader for sources that store images as arrays, and the bundled digits."""

import gzip
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.data.readers.array_format import ArrayFormat, Block
from tasks.core.data.readers.base import (
    Decoded,
    DecodedBlock,
    DecodedImage,
    DecodeFailure,
    ImageIndex,
    ImageRef,
)
from tasks.core.errors import UsageError
from tasks.core.workspace import Workspace

DIGITS = Path("datasets/data/digits.csv.gz")  # inside scikit-learn
BLOCK = 256  # images in memory at a time


class ArrayReader:
    """A published dataset of arrays. It is decompressed once, into a temporary file without a name.

    Args:
        array_format: Classes, shape and parts.
        blocks: Starts reading at the first image; yields some thousand images at a time.

    Raises:
        ArchiveError: While reading, if a file violates its format.
    """

    published = True
    random_access = True

    def __init__(self, array_format: ArrayFormat, blocks: Callable[[], Iterator[Block]]) -> None:
        self.classes, self.shape = array_format.classes, array_format.shape
        self._blocks = blocks

    def count(self) -> int:
        """Read and check everything. Returns the number of images."""
        return len(self.index())

    def index(self) -> ImageIndex:
        """All images, in the order of the parts."""
        return self._read[0]

    @cached_property
    def _read(self) -> tuple[ImageIndex, IO[bytes]]:
        """The index, and the file of the pixels: uint8 (N, H, W, C)."""
        root = Workspace.active().root
        file = tempfile.TemporaryFile(dir=root if root.is_dir() else None)  # noqa: SIM115 - as the reader lives
        try:
            index = ImageIndex.of(self._rows(file))
            file.flush()
        except BaseException:
            file.close()
            raise
        return index, file

    def _rows(self, file: IO[bytes]) -> Iterator[ImageRef]:
        next_number: dict[str, int] = {}
        for block in self._blocks():
            first = next_number.get(block.part, 0)
            pixels = np.ascontiguousarray(block.images)
            file.write(pixels.data)
            for number, (image, label) in enumerate(zip(pixels, block.labels.tolist(), strict=True), first):
                image_id = hashlib.sha256(image.data).hexdigest()
                yield ImageRef(image_id, f"{block.part}#{number}", block.split, label)
            next_number[block.part] = first + len(block.labels)

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader.images`."""
        for start in range(0, len(wanted), BLOCK):
            rows = wanted[start : start + BLOCK]
            for row, image in zip(rows, self._pixels(rows), strict=True):
                yield DecodedImage(row, decode.resize_and_convert(image, target), self.shape)

    def blocks(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded]:
        """See `Reader.blocks`."""
        if (*(target.size or self.shape[:2]), target.channels) != self.shape:
            yield from self.images(wanted, target)
            return
        for start in range(0, len(wanted), BLOCK):
            rows = np.array(wanted[start : start + BLOCK], np.int64)
            originals = np.broadcast_to(np.array(self.shape, np.int32), (len(rows), 3))
            yield DecodedBlock(rows, self._pixels(rows.tolist()), originals)

    def _pixels(self, rows: Sequence[int]) -> NDArray[np.uint8]:
        file, size = self._read[1].fileno(), int(np.prod(self.shape))
        content = b"".join([os.pread(file, size, row * size) for row in rows])
        return np.frombuffer(content, np.uint8).reshape(-1, *self.shape)

    def files(self, wanted: Sequence[int]) -> Iterator[None]:
        """See `Reader.files`: these images are no files."""
        return (None for _ in wanted)


_latest: dict[tuple[str, ...], ArrayReader] = {}


def shared(
    sha256s: Sequence[str], array_format: ArrayFormat, opened: Callable[[], ArrayReader]
) -> ArrayReader:
    """The reader of archives, which the stages of a process share. The last one is kept.

    Args:
        sha256s: Of the archives, which were verified.
        array_format: What the images are like.
        opened: Opens them.
    """
    key = (*sorted(sha256s), repr(array_format), str(Workspace.active().root))
    if key not in _latest:
        _latest.clear()
        _latest[key] = opened()
    return _latest[key]


def open_digits(_: Mapping[str, Path], array_format: ArrayFormat) -> ArrayReader:
    """The reader of the bundled digits, which need no file."""
    return ArrayReader(array_format, _digits)


def _digits() -> Iterator[Block]:
    """The 1,797 handwritten digits inside scikit-learn (8x8, 17 grey levels, from UCI's optdigits)."""
    # Its file is read instead of calling `sklearn.datasets.load_digits`, whose import takes 1 CPU-s.
    with gzip.open(digits_file(), "rt", encoding="ascii") as file:
        rows = np.loadtxt(file, dtype=np.int32, delimiter=",")  # 64 pixels, 0..16, and the label
    images = np.rint(rows[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)[..., None]
    yield Block("digits", "", images, rows[:, -1])


def digits_file() -> Path:
    """The file of the digits; scikit-learn is not imported.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    module_spec = find_spec("sklearn")
    if module_spec is None or module_spec.origin is None:
        raise UsageError(
            "scikit-learn, which has the digits, is not installed", todo="pip install scikit-learn"
        )
    return Path(module_spec.origin).parent / DIGITS
