"""The inputs of a batch prediction: image files and rows of parquet files, local or remote.

An input is a file, a folder, a glob, or an address that fsspec understands. Folders are traversed one by one
in a fixed order, so that memory depends neither on the number of images nor on their size. Which of their
files are images is decided as for training (`file_types`); the others are passed to `on_unused`.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from fsspec.spec import AbstractFileSystem
from numpy.typing import NDArray

from tasks.core import addresses, markup
from tasks.core.data import file_types
from tasks.core.data.readers.parquet import schema as parquet_schema
from tasks.core.data.readers.parquet.file import PAGES, parquet_errors
from tasks.core.data.sources import remote, resolve
from tasks.core.errors import UsageError
from tasks.core.workspace import expanded

PARQUET = ".parquet"
BLOCK = 1 << 14  # chunks whose keys are compared at a time
ROWS = 4096  # of a parquet file in a chunk; a part of the output has complete chunks
NO_TEXT = file_types.FileType("a name that is not UTF-8", todo="rename it")
IMAGE = -1  # `start` of an image file
EXPECTED = "image or parquet files, folders of them, globs or addresses"
MAGIC = "*?["  # characters that make a path a glob
OnUnused = Callable[[str, str], None]  # called with the path and the reason of a file that is no image


class InputChunk(NamedTuple):
    """An image file, or consecutive rows of a parquet file.

    Args:
        path: Absolute path, or address.
        start: The first row; `IMAGE` for an image file.
        images: Number of images.
        bytes: Size of the image file; for a parquet file, the share of these rows.
        version_tag: Changes when the file does: its modification time, or what a remote file system reports.
    """

    path: str
    start: int
    images: int
    bytes: int
    version_tag: str

    @property
    def key(self) -> int:
        """64 bits that identify the chunk and this version of its file."""
        text = f"{self.path}\0{self.start}\0{self.images}\0{self.bytes}\0{self.version_tag}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class InputFile(NamedTuple):
    """A file that has not been read; fields as in `InputChunk`."""

    path: str
    bytes: int
    version_tag: str


def is_address(path: str) -> bool:
    """Whether it is an address such as s3://bucket/folder instead of a local path."""
    return "://" in path


def check_inputs(paths: Sequence[str]) -> None:
    """Check that local inputs exist before anything starts.

    Raises:
        UsageError: One does not exist, or is a CSV or an archive; a glob matches nothing, or there is none.
    """
    if not paths:
        raise UsageError("no images are named", expected="files, folders, globs or addresses")
    for path in paths:
        if not path:
            raise UsageError(
                "an input is empty", expected="a file, a folder, a glob or an address (is a variable empty?)"
            )
        if is_address(path) and not addresses.is_readable(path):
            raise UsageError(
                f"{path} cannot be read",
                expected=EXPECTED,
                found="an address that cannot be taken apart (its brackets or its port)",
            )
        if is_address(path) or expanded(path).exists():
            _refuse_dataset(path)
            continue
        if not set(path) & set(MAGIC):
            found = f"nothing at {absolute_path(path)}"
            raise UsageError(f"{path} does not exist", expected=EXPECTED, found=found)
        if next(_glob(absolute_path(path)), None) is None:
            raise _no_match(path)


def _refuse_dataset(path: str) -> None:
    """Refuse what `plumbline train` reads, but is neither an image nor has images as parquet files do."""
    todos = {"csv": "name the images, or their folder", "archive": "unpack it, and name the folder"}
    todo = todos.get(resolve.format_of(path))
    if todo and not is_address(path) and expanded(path).is_file():
        raise UsageError(f"{path} is no image", expected=EXPECTED, done="nothing was started", todo=todo)


def ignore_unused(path: str, reason: str) -> None:
    """Do nothing with a file that is no image."""


def list_inputs(paths: Sequence[str], on_unused: OnUnused = ignore_unused) -> Iterator[InputChunk]:
    """Everything to read, in a fixed order.

    Args:
        paths: Files, folders, globs or addresses. A file that is named here is listed whatever it is.
        on_unused: Called with each other file that is no image, and the reason.

    Raises:
        UsageError: An input does not exist, or an address is invalid.
        DataError: A parquet file cannot be read, or has no clear column of images.
        NetworkError: An address could not be reached; another attempt may succeed.
    """

    def leave_out(path: str, reason: str) -> None:
        on_unused(os.fsencode(path).decode("utf-8", "backslashreplace"), reason)

    for path in paths:
        for file in _remote(path, leave_out) if is_address(path) else _local(path, leave_out):
            if not markup.is_utf8(file.path):  # tables have text
                leave_out(file.path, NO_TEXT.reason)
            elif file.path.lower().endswith(PARQUET):
                yield from _rows(file)
            else:
                yield InputChunk(file.path, IMAGE, 1, file.bytes, file.version_tag)


def new_chunks(
    chunks: Iterable[InputChunk], keys: NDArray[np.uint64], *, unique: bool
) -> Iterator[tuple[InputChunk, int]]:
    """The chunks that were not answered before, with their keys.

    Args:
        chunks: What there is to read.
        keys: uint64 (n,); sorted keys of the answered chunks.
        unique: Whether no chunk occurs twice. If not, the keys of all chunks are remembered.
    """
    seen: set[int] = set()
    chunks = iter(chunks)
    while block := [(chunk, chunk.key) for chunk in islice(chunks, BLOCK)]:
        own = np.array([key for _, key in block], np.uint64)
        found = np.searchsorted(keys, own, "right") > np.searchsorted(keys, own)
        for (chunk, key), is_answered in zip(block, found.tolist(), strict=True):
            if not is_answered and key not in seen:
                yield chunk, key
            if not unique:
                seen.add(key)


def absolute_path(path: str) -> str:
    """The path as it is stored: absolute, with links kept. Of an address the secrets are left out."""
    return addresses.concealed(path) if is_address(path) else os.path.abspath(expanded(path))  # noqa: PTH100 - keeps links


def _rows(file: InputFile) -> Iterator[InputChunk]:
    with input_errors(file.path), opened(file.path) as parquet_file:
        parquet_schema.image_of(Path(file.path), parquet_file.schema_arrow)
        total = parquet_file.metadata.num_rows
    for start in range(0, total, ROWS):
        count = min(ROWS, total - start)
        yield InputChunk(file.path, start, count, file.bytes * count // total, file.version_tag)


def is_unchanged(path: str, version_tag: str) -> bool:
    """Whether a local file exists and has this version tag; for an address, whether the file exists.

    The version tags of an address are not compared, since different calls of a file system report different
    ones.
    """
    if not is_address(path):
        return Path(path).is_file() and _status(path)[0].version_tag == version_tag
    system, remote_path = remote.system_of(path)
    with remote.network(path):
        return bool(system.exists(remote_path))


@contextmanager
def input_errors(path: str) -> Iterator[None]:
    """Turn what file systems and pyarrow raise into a `NetworkError`, a `UsageError` or a `DataError`."""
    with remote.network(path) if is_address(path) else parquet_errors(Path(path)):
        yield


def opened(path: str) -> pq.ParquetFile:
    """Open a parquet file at a path or address, to be read page by page."""
    if not is_address(path):
        return pq.ParquetFile(path, **PAGES)
    system, remote_path = remote.system_of(path)
    return pq.ParquetFile(system.open(remote_path, "rb"), **PAGES)


def _local(path: str, on_unused: OnUnused) -> Iterator[InputFile]:
    absolute = absolute_path(path)
    if Path(absolute).is_dir():
        yield from _files_below(absolute, on_unused)
    elif Path(absolute).is_file():
        yield _status(absolute)[0]
    else:
        yield from _matching(absolute, on_unused)


def _matching(pattern: str, on_unused: OnUnused) -> Iterator[InputFile]:
    """Files that match a glob, and files below folders that match it."""
    paths = sorted(_glob(pattern))
    if not paths:
        raise _no_match(pattern)
    for path in paths:
        if path.is_dir() and not pattern.endswith("**"):
            yield from _files_below(str(path), on_unused)
        elif not path.is_dir():
            yield from _if_used(str(path), path.name, on_unused)


def _glob(pattern: str) -> Iterator[Path]:
    parts = PurePosixPath(pattern).parts
    first = next((number for number, part in enumerate(parts) if set(part) & set(MAGIC)), len(parts) - 1)
    return Path(*parts[:first]).glob(str(PurePosixPath(*parts[first:])))


def _no_match(pattern: str) -> UsageError:
    expected = "a glob of image or parquet files or of their folders"
    return UsageError(f"nothing matches {pattern}", expected=expected, done="nothing was predicted")


def _files_below(folder: str, on_unused: OnUnused) -> Iterator[InputFile]:
    with os.scandir(folder) as entries:
        names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in names:
        path = f"{folder}/{name}"
        if is_folder and (reason := file_types.reason_of_folder(name, path)):
            on_unused(f"{path}/", reason)
        elif is_folder:
            yield from _files_below(path, on_unused)
        else:
            yield from _if_used(path, name, on_unused)


def _if_used(path: str, name: str, on_unused: OnUnused) -> Iterator[InputFile]:
    """The local path if it is a regular file with an image, or a parquet file."""
    try:
        file, mode = _status(path)
    except OSError:  # a broken link
        mode = 0
    if not stat.S_ISREG(mode):
        on_unused(path, file_types.NO_FILE.reason)
    elif reason := _reason(name, lambda: file_types.read_head(path)):
        on_unused(path, reason)
    else:
        yield file


def _reason(name: str, read: Callable[[], bytes]) -> str:
    is_parquet = name.lower().endswith(PARQUET) and not name.startswith(".")
    return "" if is_parquet else file_types.reason_of(name, read)


def _status(path: str) -> tuple[InputFile, int]:
    """A local file, and the mode that tells its kind."""
    status = os.stat(path)  # noqa: PTH116 - `Path` takes 5 times as long
    return InputFile(path, status.st_size, str(status.st_mtime_ns)), status.st_mode


def _remote(address: str, on_unused: OnUnused) -> Iterator[InputFile]:
    system, root = remote.system_of(address)
    with remote.network(address):
        if set(root) & set(MAGIC):
            infos = system.glob(root, detail=True)
        elif system.isfile(root):
            infos = {root: system.info(root)}
        else:
            infos = system.find(root, detail=True)
    if not infos:
        raise UsageError(f"There is nothing at {address}", expected="image or parquet files")
    for path, info in sorted(infos.items()):
        if info.get("type") != "file":
            continue
        full_address = _full_address(system, path)
        if reason := _reason(PurePosixPath(path).name, partial(_remote_head, system, path, address)):
            on_unused(full_address, reason)
        else:
            yield InputFile(full_address, int(info.get("size") or 0), remote.version_tag(info))


def _remote_head(system: AbstractFileSystem, path: str, address: str) -> bytes:
    with remote.network(address):
        return bytes(system.cat_file(path, start=0, end=file_types.HEAD))


def _full_address(system: AbstractFileSystem, path: str) -> str:
    return addresses.concealed(str(system.unstrip_protocol(path)))
