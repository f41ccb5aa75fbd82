"""CIFAR's binary archives, read straight from the .tar.gz: nothing is unpacked, no pickle is loaded.

The format (https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version"): a member is a row of records;
a record is the label byte(s), then the red, the green and the blue plane, each row by row.
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
def _reading(path: Path) -> Iterator[None]:
    """Turn what the gzip and tar readers raise on bad bytes into an `ArchiveError`."""
    try:
        yield
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError, OverflowError) as error:
        raise ArchiveError(
            f"{path.name} cannot be read to its end",
            expected="a whole .tar.gz archive",
            found=str(error) or type(error).__name__,
            done="nothing was written",
            todo="get the file again",
        ) from error


def members(path: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Every member's name, with its content for a plain file, in the archive's order, to the last byte.

    Raises:
        ArchiveError: Not a .tar.gz, truncated, damaged, or a member that would leave its folder.
    """
    with _reading(path), gzip.open(path) as unpacked:
        with tarfile.open(fileobj=unpacked, mode="r|") as tar:
            for member in tar:
                _refuse_escape(path, member)
                yield member.name, tar.extractfile(member) if member.isfile() else None
        while unpacked.read(CHUNK):  # gzip holds its checksum against the content only at the end
            pass


def open_archive(files: Mapping[str, Path], form: ArrayFormat) -> ArrayReader:
    """The reader of an archive.

    Args:
        files: The archive, by its official name.
        form: Classes, shape and parts.
    """
    (path,) = files.values()
    return ArrayReader(form, lambda: blocks(path, form))


def blocks(path: Path, form: ArrayFormat) -> Iterator[Block]:
    """The images of an archive, some thousand at a time.

    Raises:
        ArchiveError: As `members`, or a member is missing or isn't a whole number of valid records.
    """
    splits, seen = dict(form.members), set()
    for name, content in members(path):
        if name in splits and content is not None:
            seen.add(name)
            for records in _records(path, name, content, form):
                yield Block(name, splits[name], _images(records, form), _labels(records, form))
    missing = [name for name in splits if name not in seen]
    if missing:
        raise ArchiveError(
            f"{path.name} does not have the expected members",
            expected=", ".join(splits),
            found=f"no {', '.join(missing)}",
            done="nothing was written",
        )


def _records(path: Path, name: str, content: IO[bytes], form: ArrayFormat) -> Iterator[NDArray[np.uint8]]:
    """uint8 (n, label bytes + H * W * C), checked."""
    size, total = form.label_bytes + int(np.prod(form.shape)), 0
    with _reading(path):
        while data := content.read(max(1, BLOCK // size) * size):
            total += len(data)
            if len(data) % size:
                break
            records = np.frombuffer(data, np.uint8).reshape(-1, size)
            _refuse_label(path, name, records, form)
            yield records
    if total == 0 or total % size:
        raise ArchiveError(
            f"{name} in {path.name} has the wrong record size",
            expected=f"a multiple of {size} bytes",
            found=f"{total} bytes",
            done="nothing was written",
        )


def _labels(records: NDArray[np.uint8], form: ArrayFormat) -> NDArray[np.int32]:
    return records[:, form.label_bytes - 1].astype(np.int32)


def _images(records: NDArray[np.uint8], form: ArrayFormat) -> NDArray[np.uint8]:
    height, width, channels = form.shape
    planes = records[:, form.label_bytes :].reshape(-1, channels, height, width)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _refuse_label(path: Path, name: str, records: NDArray[np.uint8], form: ArrayFormat) -> None:
    highest = int(_labels(records, form).max())
    if highest >= len(form.classes):
        raise ArchiveError(
            f"{name} in {path.name} has a label outside the dataset's classes",
            expected=f"0..{len(form.classes) - 1}",
            found=str(highest),
            done="nothing was written",
        )


def _refuse_escape(path: Path, member: tarfile.TarInfo) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise ArchiveError(
            f"{path.name} has a member that an archive of images has no use for: {member.name}",
            expected="plain files and folders inside the archive's own folder",
            found="a link or device" if not (member.isfile() or member.isdir()) else "a path that leads out",
            done="nothing was written",
            todo="don't unpack this file; get the archive from another place",
        )
