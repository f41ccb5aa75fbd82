"""A tar with compression, as a tar without: such an archive can only be read from its beginning on.

Images are read in any order and one by one, so the compression is taken off once. The copy is a single file
in the workspace's downloads, in which images are found by their offset: no member becomes a file. It is as
large as the images. A copy is replaced when the archive's bytes change.
"""

import bz2
import gzip
import logging
import lzma
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tasks.core.data.files import archive
from tasks.core.data.files.archive_errors import archive_errors
from tasks.core.data.sources import archives
from tasks.core.progress import Progress
from tasks.core.storage import atomic, checksum_list, hashing, lock
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

CHUNK = 1 << 20
OPENERS: dict[str, Any] = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
SOURCE = ".sha256"  # beside the copy: the SHA-256 of the archive that it was made from


def is_needed(path: Path) -> bool:
    """Whether an archive has to be unpacked before its members can be read.

    Raises:
        ArchiveError: It is no archive.
    """
    return archive.kind_of(path) in OPENERS


def unpack(path: Path, workspace: Workspace, refresh: bool, progress: Progress) -> Path:
    """The tar in an archive for which `is_needed` is true.

    Args:
        path: The archive.
        workspace: The copy is in `downloads/<digest of the path>/`.
        refresh: Read the archive, and unpack it again.
        progress: Called with unpacked bytes; how many there will be is not known.

    Raises:
        ArchiveError: It is truncated or damaged, or unpacks to much more than its size.
    """
    folder = workspace.downloads / hashing.digest_of(str(path))
    copy = folder / f"{path.name.partition('.')[0] or 'archive'}.tar"
    with lock.exclusive(workspace.downloads / f".{folder.name}.lock"):
        sha256, hashes = archives.hashed_file(path, workspace, refresh)
        if refresh or not copy.is_file() or _source(folder) != sha256:
            log.info("unpacking %s once, since it has no random access", path)
            (folder / SOURCE).unlink(missing_ok=True)
            with atomic.replacing(copy) as staging:
                _write(path, staging, progress)
            checksum_list.update(folder.parent, [copy])
            atomic.write_bytes(folder / SOURCE, sha256.encode())
        hashes.remember()
    return copy


def _write(path: Path, staging: Path, progress: Progress) -> None:
    size = 0
    with staging.open("wb") as file:
        for chunk in _chunks(path):
            size += len(chunk)
            archive.check_ratio(path, size)
            file.write(chunk)
            progress(size, 0, "unpacking")


def _chunks(path: Path) -> Iterator[bytes]:
    with archive_errors(path), OPENERS[archive.kind_of(path)](path) as packed:
        while chunk := packed.read(CHUNK):
            yield chunk


def _source(folder: Path) -> str:
    try:
        return (folder / SOURCE).read_text()
    except OSError:
        return ""
