"""The files of a known dataset: downloaded or given by a person, verified, kept in the workspace."""

import hashlib
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.core.config import SourceSettings
from tasks.core.data.files import file_stats
from tasks.core.data.files.file_hashes import Hashes
from tasks.core.data.sources import download
from tasks.core.data.sources.catalog import DatasetSpec, RemoteFile
from tasks.core.errors import ChecksumError
from tasks.core.progress import Progress
from tasks.core.storage import atomic, hashing
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")


@dataclass(frozen=True)
class VerifiedArchive:
    """A verified file.

    Args:
        path: Where it is.
        sha256: Of its content.
        kept: Where it is to be in the workspace; `path` itself once it is there.
        official: Whether it has the bytes that everyone has.
    """

    path: Path
    sha256: str
    kept: Path
    official: bool


def ensure_available(
    known: DatasetSpec, source: SourceSettings, workspace: Workspace, refresh: bool, progress: Progress
) -> list[VerifiedArchive]:
    """Download what isn't there, or verify what a person gives; the latter is not copied yet.

    Raises:
        ChecksumError: Given files are neither the official ones nor those declared.
        NetworkError: The download failed and can be tried again.
    """
    if source.archive is not None:
        given = source.archive.expanduser().resolve()
        return _given(known, given, source.archive_sha256, workspace, refresh)
    return [
        VerifiedArchive(
            _downloaded(file, workspace, refresh, progress), file.sha256, _kept(file, workspace), True
        )
        for file in known.files
    ]


def missing_bytes(known: DatasetSpec, workspace: Workspace) -> int:
    """Bytes that `ensure_available` would have to download if no archive is given."""
    return sum(file.bytes for file in known.files if not _kept(file, workspace).exists())


def copy_into_workspace(original: VerifiedArchive) -> None:
    """Copy a given file into the workspace unless it is there."""
    if original.path == original.kept:
        return
    destination = original.kept
    if destination.exists() and hashing.sha256_file(destination) == original.sha256:
        return
    with atomic.replacing(destination) as staging:
        shutil.copyfile(original.path, staging)
        if hashing.sha256_file(staging) != original.sha256:
            raise ChecksumError(
                f"{original.path} changed while it was copied", expected=f"SHA-256 {original.sha256}"
            )


def combined_sha256(hashes: Sequence[str], names: Sequence[str]) -> str:
    """One SHA-256 for several files: of what `sha256sum` prints for them in the order of their names.

    For a single file it is the file's own.
    """
    if len(hashes) == 1:
        return hashes[0]
    lines = sorted(zip(names, hashes, strict=True))
    return hashlib.sha256("".join(f"{sha256}  {name}\n" for name, sha256 in lines).encode()).hexdigest()


def _downloaded(official: RemoteFile, workspace: Workspace, refresh: bool, progress: Progress) -> Path:
    path = _kept(official, workspace)
    if path.exists():
        sha256, hashes = _hashed(path, workspace, refresh)
        hashes.remember()
        if sha256 != official.sha256:
            log.warning("%s has been changed and is downloaded again", path)
            path.unlink()
    download.fetch(official, path, progress=progress)
    return path


def _given(
    known: DatasetSpec, given: Path, declared: str | None, workspace: Workspace, refresh: bool
) -> list[VerifiedArchive]:
    paths = [given] if given.is_file() else [given / file.name for file in known.files]
    found, looks = zip(*(_hashed(path, workspace, refresh) for path in paths), strict=True)
    _refuse_others(known, given, found, declared)
    for look in looks:
        look.remember()
    return [
        VerifiedArchive(path, sha256, _kept(file, workspace, sha256), sha256 == file.sha256)
        for path, sha256, file in zip(paths, found, known.files, strict=True)
    ]


def _refuse_others(known: DatasetSpec, given: Path, found: Sequence[str], declared: str | None) -> None:
    names = [file.name for file in known.files]
    official = combined_sha256([file.sha256 for file in known.files], names)
    sha256 = combined_sha256(found, names)
    log.info("%s has SHA-256 %s%s", given.name, sha256, " (official)" if sha256 == official else "")
    expected = declared.lower() if declared else official
    if sha256 == expected:
        return
    raise ChecksumError(
        f"{given} is not the expected archive",
        expected=f"SHA-256 {expected} ({'as declared' if declared else f'the official {known.name}'})",
        found=f"SHA-256 {sha256}",
        done="nothing was written",
        todo=f"if you trust it, pass --archive-sha256 {sha256}",
    )


def _hashed(path: Path, workspace: Workspace, refresh: bool) -> tuple[str, Hashes]:
    """The SHA-256 of a single file, whose path below itself is empty, and what remembers it."""
    hashes = Hashes(path, workspace, ignore_cache=refresh)
    (sha256,) = hashes.compute(
        file_stats.stats_table(path, [file_stats.file_stat("", "", "", path.stat())])
    ).to_pylist()
    return sha256, hashes


def _kept(file: RemoteFile, workspace: Workspace, sha256: str = "") -> Path:
    return workspace.downloads / (sha256 or file.sha256) / file.name
