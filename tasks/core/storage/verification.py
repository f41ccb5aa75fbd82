"""Verification of the bytes that a stage reads: each finished directory once in a process.

A quick check (`manifests.find_damage`) trusts a large file by its size and modification time. Before a stage
computes anything from such a file, all its blocks are compared with their checksums.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tasks.core.errors import DamagedOutputError, FormatError
from tasks.core.storage import hashing, manifests

_verified: dict[Path, int] = {}  # modification time of the manifest by directory
_readers: list[int] = []  # one entry for each block of `required` that is open, in any thread


@contextmanager
def required() -> Iterator[None]:
    """Context manager: handles that are used in the block verify their directories; see `verify`."""
    _readers.append(1)
    try:
        yield
    finally:
        _readers.pop()


def verify_if_required(directory: Path) -> None:
    """Call `verify` if a block of `required` is open."""
    if _readers:
        verify(directory)


def verify(directory: Path) -> None:
    """Compare the large files of a finished directory with their checksums, unless this process has done so.

    The modification time of a damaged file is changed. So every later quick check reads it, finds the damage,
    and the output is built again.

    Raises:
        DamagedOutputError: A file has other bytes than when it was written.
    """
    try:
        written = (directory / manifests.MANIFEST).stat().st_mtime_ns
        if _verified.get(directory) == written:
            return
        files = manifests.read(directory)["files"]
    except (OSError, FormatError):
        return  # it is no finished directory; opening its files says what is missing
    for name, entry in files.items():
        if entry["bytes"] > manifests.ALWAYS_HASHED_BYTES and not _is_intact(directory / name, entry):
            _mark(directory / name)
            raise _damaged(directory / name, entry)
    _verified[directory] = written


def _is_intact(path: Path, entry: dict[str, str]) -> bool:
    try:
        if "crc32" in entry:
            return hashing.first_damaged_block(path, entry["crc32"]) is None
        return hashing.sha256_file(path) == entry["sha256"]
    except OSError:
        return False


def _mark(path: Path) -> None:
    with suppress(OSError):  # missing, or not ours to change: each run that reads it finds the damage again
        os.utime(path)


def _damaged(path: Path, entry: dict[str, str]) -> DamagedOutputError:
    place = manifests.where(path, entry) if path.exists() else ""
    return DamagedOutputError(
        f"{path} is damaged{place}",
        expected="the bytes that were written",
        found="other bytes, of the same size and time: a fault of the disk or of the memory, or an edit",
        done="nothing was computed from it",
        todo="run again: it is built again; `plumbline doctor` checks every other file",
    )
