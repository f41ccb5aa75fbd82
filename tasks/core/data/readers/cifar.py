"""CIFAR's binary archives, read from the .tar.gz without unpacking it and without pickle.

The format (https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version"): a member is a sequence of records.
A record is the label byte(s), then the red, the green and the blue plane, each row by row.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.readers.array_format import ArrayFormat, Block
from tasks.core.data.readers.arrays import ArrayReader
from tasks.core.errors import ArchiveError

CHUNK = 1 << 20
BLOCK = 1 << 22  # bytes of records in memory at a time


@contextmanager
def _archive_errors(path: Path) -> Iterator[None]:
    """Turn what the gzip and tar readers raise on damaged files into an `ArchiveError`."""
    try:
        yield
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise ArchiveError(
            f"{path.name} cannot be read to its end",
            expected="a complete .tar.gz archive",
            found=str(error) or type(error).__name__,
            done="nothing was written",
            todo="download the file again",
        ) from error


def members(path: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Every member's name and, for a plain file, its content, in the archive's order.

    The archive is read to its last byte, so that its checksum is verified.

    Raises:
        ArchiveError: It is not a .tar.gz, it is truncated or damaged, or a member's path leaves the archive's
            folder.
    """
    with _archive_errors(path), gzip.open(path) as decompressed:
        with tarfile.open(fileobj=decompressed, mode="r|") as tar:
            for member in tar:
                _refuse_escape(path, member)
                yield member.name, tar.extractfile(member) if member.isfile() else None
        while decompressed.read(CHUNK):  # gzip verifies its checksum only at the end of the file
            pass


def open_archive(files: Mapping[str, Path], array_format: ArrayFormat) -> ArrayReader:
    """The reader of an archive.

    Args:
        files: The archive, by its official name.
        array_format: Classes, shape and parts.
    """
    (path,) = files.values()
    return ArrayReader(array_format, lambda: blocks(path, array_format))


def blocks(path: Path, array_format: ArrayFormat) -> Iterator[Block]:
    """The images of an archive, some thousand at a time.

    Raises:
        ArchiveError: See `members`. Also if a member is missing, or its records are incomplete or have a
            label outside the classes.
    """
    splits, names_read = dict(array_format.members), set()
    for name, content in members(path):
        if name in splits and content is not None:
            names_read.add(name)
            for records in _records(path, name, content, array_format):
                yield Block(
                    name, splits[name], _images(records, array_format), _labels(records, array_format)
                )
    missing = [name for name in splits if name not in names_read]
    if missing:
        raise ArchiveError(
            f"{path.name} does not have the expected members",
            expected=", ".join(splits),
            found=f"no {', '.join(missing)}",
            done="nothing was written",
        )


def _records(
    path: Path, name: str, content: IO[bytes], array_format: ArrayFormat
) -> Iterator[NDArray[np.uint8]]:
    """Checked records: uint8 (n, label bytes + H * W * C)."""
    size, total = array_format.label_bytes + int(np.prod(array_format.shape)), 0
    with _archive_errors(path):
        while data := content.read(max(1, BLOCK // size) * size):
            total += len(data)
            if len(data) % size:
                break
            records = np.frombuffer(data, np.uint8).reshape(-1, size)
            _refuse_label(path, name, records, array_format)
            yield records
    if total == 0 or total % size:
        raise ArchiveError(
            f"{name} in {path.name} has the wrong record size",
            expected=f"a multiple of {size} bytes",
            found=f"{total} bytes",
            done="nothing was written",
        )


def _labels(records: NDArray[np.uint8], array_format: ArrayFormat) -> NDArray[np.int32]:
    return records[:, array_format.label_bytes - 1].astype(np.int32)


def _images(records: NDArray[np.uint8], array_format: ArrayFormat) -> NDArray[np.uint8]:
    height, width, channels = array_format.shape
    planes = records[:, array_format.label_bytes :].reshape(-1, channels, height, width)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _refuse_label(path: Path, name: str, records: NDArray[np.uint8], array_format: ArrayFormat) -> None:
    highest = int(_labels(records, array_format).max())
    if highest >= len(array_format.classes):
        raise ArchiveError(
            f"{name} in {path.name} has a label outside the dataset's classes",
            expected=f"0..{len(array_format.classes) - 1}",
            found=str(highest),
            done="nothing was written",
        )


def _refuse_escape(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise ArchiveError(
            f"{path.name} has a member that an archive of images must not have: {member.name}",
            expected="files and folders, all inside the archive's own folder",
            found="a link or device"
            if not (member.isfile() or member.isdir())
            else "a path that leaves the folder",
            done="nothing was written",
            todo="do not unpack this file; get the archive from another source",
        )
