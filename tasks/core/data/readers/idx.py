"""The idx format of MNIST and Fashion-MNIST (http://yann.lecun.com/exdb/mnist, "File formats"), gzipped.

A file is two zero bytes, the type (8 for uint8), the number of dimensions, each dimension as a big-endian
uint32, then the values. Images and labels are two files.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.readers.array_format import ArrayFormat, Block
from tasks.core.data.readers.arrays import ArrayReader
from tasks.core.errors import ArchiveError

UINT8 = 8
MAX_IMAGES = 100_000_000  # a header that claims more counts as damaged
BLOCK = 1 << 22  # bytes of images in memory at a time


def open_files(files: Mapping[str, Path], array_format: ArrayFormat) -> ArrayReader:
    """The reader of a dataset's idx files; arguments as in `blocks`."""
    return ArrayReader(array_format, lambda: blocks(files, array_format))


def blocks(files: Mapping[str, Path], array_format: ArrayFormat) -> Iterator[Block]:
    """The images of a dataset's idx files, some thousand at a time.

    Args:
        files: Paths by their official names, {part}-images-idx3-ubyte.gz and {part}-labels-idx1-ubyte.gz.
        array_format: Classes, shape and parts.

    Raises:
        ArchiveError: A file is truncated, damaged, of another type or shape, or images and labels differ in
            number.
    """
    for part, split in array_format.members:
        labels = _labels(files[f"{part}-labels-idx1-ubyte.gz"], array_format)
        start = 0
        for images in _images(files[f"{part}-images-idx3-ubyte.gz"], array_format, len(labels)):
            yield Block(part, split, images, labels[start : start + len(images)])
            start += len(images)


def _labels(path: Path, array_format: ArrayFormat) -> NDArray[np.int32]:
    with _open(path) as file:
        (count,) = _shape(path, file, dimensions=1)
        if not 0 < count <= MAX_IMAGES:
            raise _archive_error(path, f"1..{MAX_IMAGES} labels", str(count))
        labels = np.frombuffer(_read_exactly(path, file, count), np.uint8).astype(np.int32)
        _check_end(path, file)
    if labels.max() >= len(array_format.classes):
        raise _archive_error(path, f"labels 0..{len(array_format.classes) - 1}", str(labels.max()))
    return labels


def _images(path: Path, array_format: ArrayFormat, count: int) -> Iterator[NDArray[np.uint8]]:
    step = max(1, BLOCK // int(np.prod(array_format.shape)))
    with _open(path) as file:
        expected, found = (count, *array_format.shape[:2]), _shape(path, file, dimensions=3)
        if found != expected:
            raise _archive_error(path, _shape_text(expected) + ", as many as labels", _shape_text(found))
        for start in range(0, count, step):
            shape = (min(step, count - start), *array_format.shape)
            yield np.frombuffer(_read_exactly(path, file, int(np.prod(shape))), np.uint8).reshape(shape)
        _check_end(path, file)


@contextmanager
def _open(path: Path) -> Iterator[gzip.GzipFile]:
    try:
        with gzip.open(path) as file:
            yield file
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _archive_error(path, "a complete gzip file", str(error)) from error


def _shape(path: Path, file: gzip.GzipFile, dimensions: int) -> tuple[int, ...]:
    magic, expected = _read_exactly(path, file, 4), bytes([0, 0, UINT8, dimensions])
    if magic != expected:
        raise _archive_error(path, f"the first bytes {expected.hex()}", magic.hex())
    return struct.unpack(f">{dimensions}I", _read_exactly(path, file, 4 * dimensions))


def _read_exactly(path: Path, file: gzip.GzipFile, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise _archive_error(path, f"{count} more bytes", f"{len(content)}")
    return content


def _check_end(path: Path, file: gzip.GzipFile) -> None:
    if file.read(1):
        raise _archive_error(path, "the end of the file after its last value", "more bytes")


def _shape_text(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)


def _archive_error(path: Path, expected: str, found: str) -> ArchiveError:
    return ArchiveError(
        f"{path.name} is not a complete idx file of this dataset",
        expected=expected,
        found=found,
        done="nothing was written",
        todo="download the file again",
    )
