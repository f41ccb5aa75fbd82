"""The idx format of MNIST and its kin (http://yann.lecun.com/exdb/mnist, "File formats"), gzipped.

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
MOST = 100_000_000  # images; a header that claims more is taken for damaged
BLOCK = 1 << 22  # bytes of images in memory at a time


def open_files(files: Mapping[str, Path], form: ArrayFormat) -> ArrayReader:
    """The reader of a dataset's idx files; arguments as of `blocks`."""
    return ArrayReader(form, lambda: blocks(files, form))


def blocks(files: Mapping[str, Path], form: ArrayFormat) -> Iterator[Block]:
    """The images of a dataset's idx files, some thousand at a time.

    Args:
        files: Paths by their official names, {part}-images-idx3-ubyte.gz and {part}-labels-idx1-ubyte.gz.
        form: Classes, shape and parts.

    Raises:
        ArchiveError: A file is truncated, damaged, of another type or shape, or the two don't match.
    """
    for part, split in form.members:
        labels = _labels(files[f"{part}-labels-idx1-ubyte.gz"], form)
        start = 0
        for images in _images(files[f"{part}-images-idx3-ubyte.gz"], form, len(labels)):
            yield Block(part, split, images, labels[start : start + len(images)])
            start += len(images)


def _labels(path: Path, form: ArrayFormat) -> NDArray[np.int32]:
    with _opened(path) as file:
        (count,) = _shape(path, file, dimensions=1)
        if not 0 < count <= MOST:
            raise _refusal(path, f"1..{MOST} labels", str(count))
        labels = np.frombuffer(_exactly(path, file, count), np.uint8).astype(np.int32)
        _end(path, file)
    if labels.max() >= len(form.classes):
        raise _refusal(path, f"labels 0..{len(form.classes) - 1}", str(labels.max()))
    return labels


def _images(path: Path, form: ArrayFormat, count: int) -> Iterator[NDArray[np.uint8]]:
    step = max(1, BLOCK // int(np.prod(form.shape)))
    with _opened(path) as file:
        expected, found = (count, *form.shape[:2]), _shape(path, file, dimensions=3)
        if found != expected:
            raise _refusal(path, _times(expected) + ", as many as labels", _times(found))
        for start in range(0, count, step):
            shape = (min(step, count - start), *form.shape)
            yield np.frombuffer(_exactly(path, file, int(np.prod(shape))), np.uint8).reshape(shape)
        _end(path, file)


@contextmanager
def _opened(path: Path) -> Iterator[gzip.GzipFile]:
    try:
        with gzip.open(path) as file:
            yield file
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise _refusal(path, "a whole gzip file", str(error)) from error


def _shape(path: Path, file: gzip.GzipFile, dimensions: int) -> tuple[int, ...]:
    magic, expected = _exactly(path, file, 4), bytes([0, 0, UINT8, dimensions])
    if magic != expected:
        raise _refusal(path, f"the first bytes {expected.hex()}", magic.hex())
    return struct.unpack(f">{dimensions}I", _exactly(path, file, 4 * dimensions))


def _exactly(path: Path, file: gzip.GzipFile, count: int) -> bytes:
    content = file.read(count)
    if len(content) < count:
        raise _refusal(path, f"{count} more bytes", f"{len(content)}")
    return content


def _end(path: Path, file: gzip.GzipFile) -> None:
    if file.read(1):
        raise _refusal(path, "the end of the file after its last value", "more bytes")


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(str(side) for side in shape)


def _refusal(path: Path, expected: str, found: str) -> ArchiveError:
    return ArchiveError(
        f"{path.name} is not a whole idx file of these images",
        expected=expected,
        found=found,
        done="nothing was written",
        todo="get the file again",
    )
