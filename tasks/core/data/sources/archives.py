"""The files of a catalog dataset: downloaded or given by the user, verified, kept in the workspace."""

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.core.config import SourceSettings
from tasks.core.data.files import file_stats
from tasks.core.data.files.file_hashes import Hashes
from tasks.core.data.sources.catalog import DatasetSpec, RemoteFile
from tasks.core.errors import ChecksumError
from tasks.core.progress import Progress
from tasks.core.storage import atomic, hashing
from tasks.core.workspace import Workspace, expanded

log = logging.getLogger("plumbline.data")


@dataclass(frozen=True)
class VerifiedArchive:
    """A verified file.

    Args:
        path: Where it is.
        sha256: Of its content.
        kept: Its path in the workspace; equal to `path` once it is there.
        official: Whether its SHA-256 is the official one.
    """

    path: Path
    sha256: str
    kept: Path
    official: bool


def ensure_available(
    dataset: DatasetSpec, source: SourceSettings, workspace: Workspace, refresh: bool, progress: Progress
) -> list[VerifiedArchive]:
    """Download missing files, or verify the files given by the user. The latter are not copied yet.

    Raises:
        ChecksumError: The given files are neither the official nor the declared ones.
        NetworkError: The download failed; another attempt may succeed.
    """
    if source.archive is not None:
        path = expanded(source.archive).resolve()
        return _given(dataset, path, source.archive_sha256, workspace, refresh)
    return [
        VerifiedArchive(
            _downloaded(remote_file, workspace, refresh, progress),
            remote_file.sha256,
            _path_in_workspace(remote_file, workspace),
            True,
        )
        for remote_file in dataset.files
    ]


def missing_bytes(dataset: DatasetSpec, workspace: Workspace) -> int:
    """Bytes that `ensure_available` would download if no archive is given."""
    return sum(file.bytes for file in dataset.files if not _path_in_workspace(file, workspace).exists())


def copy_into_workspace(archive: VerifiedArchive) -> None:
    """Copy a given file into the workspace if it is not there yet."""
    if archive.path == archive.kept:
        return
    destination = archive.kept
    if destination.exists() and hashing.sha256_file(destination) == archive.sha256:
        return
    with atomic.replacing(destination) as staging:
        shutil.copyfile(archive.path, staging)
        if hashing.sha256_file(staging) != archive.sha256:
            raise ChecksumError(
                f"{archive.path} changed while it was being copied", expected=f"SHA-256 {archive.sha256}"
            )


def _downloaded(remote_file: RemoteFile, workspace: Workspace, refresh: bool, progress: Progress) -> Path:
    path = _path_in_workspace(remote_file, workspace)
    if path.exists():
        sha256, hashes = hashed_file(path, workspace, refresh)
        hashes.remember()
        if sha256 != remote_file.sha256:
            log.warning("%s was changed; downloading it again", path)
            path.unlink()
    from tasks.core.data.sources import download  # httpx takes 0.15 s to import

    download.fetch(remote_file, path, progress=progress)
    return path


def _given(
    dataset: DatasetSpec, given: Path, declared: str | None, workspace: Workspace, refresh: bool
) -> list[VerifiedArchive]:
    paths = [given] if given.is_file() else [given / file.name for file in dataset.files]
    sha256s, caches = zip(*(hashed_file(path, workspace, refresh) for path in paths), strict=True)
    _check_sha256(dataset, given, sha256s, declared)
    for cache in caches:
        cache.remember()
    return [
        VerifiedArchive(path, sha256, _path_in_workspace(file, workspace, sha256), sha256 == file.sha256)
        for path, sha256, file in zip(paths, sha256s, dataset.files, strict=True)
    ]


def _check_sha256(dataset: DatasetSpec, given: Path, sha256s: Sequence[str], declared: str | None) -> None:
    file_names = [file.name for file in dataset.files]
    official = hashing.combined_sha256([file.sha256 for file in dataset.files], file_names)
    sha256 = hashing.combined_sha256(sha256s, file_names)
    log.info("%s has SHA-256 %s%s", given.name, sha256, " (official)" if sha256 == official else "")
    expected = declared.lower() if declared else official
    if sha256 == expected:
        return
    raise ChecksumError(
        f"{given} is not the expected archive",
        expected=f"SHA-256 {expected} ({'as declared' if declared else f'the official {dataset.name}'})",
        found=f"SHA-256 {sha256}",
        done="nothing was written",
        todo=f"if you trust it, pass --archive-sha256 {sha256}",
    )


def hashed_file(path: Path, workspace: Workspace, refresh: bool) -> tuple[str, Hashes]:
    """The SHA-256 of a single file, and the cache to remember it in. Its path relative to itself is ""."""
    hashes = Hashes(path, workspace, ignore_cache=refresh)
    (sha256,) = hashes.compute(
        file_stats.stats_table(path, [file_stats.file_stat("", "", "", path.stat())])
    ).to_pylist()
    return sha256, hashes


def _path_in_workspace(file: RemoteFile, workspace: Workspace, sha256: str = "") -> Path:
    return workspace.downloads / (sha256 or file.sha256) / file.name
