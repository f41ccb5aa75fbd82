"""The download stage: list the files of a source, each with the SHA-256 of its content.

A raw dataset is a listing, not a copy. A folder or an archive of images stays where it is. Kept in the
workspace's downloads are a known dataset's archive, copies from an address, and what a tar with compression
has in it. The digest depends on the paths below the root, the content, the splits and the class names.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.config import SourceSettings
from tasks.core.data import file_types
from tasks.core.data.files import file_stats, listing, quarantine_table
from tasks.core.data.files.file_hashes import Hashes
from tasks.core.data.files.listing import ListedFile
from tasks.core.data.readers import arrays, corrections, factory
from tasks.core.data.readers.array_format import ArrayFormat
from tasks.core.data.readers.factory import FILE_FORMATS
from tasks.core.data.sources import archives, resolve, unpacked_tar
from tasks.core.data.sources.catalog import DatasetSpec
from tasks.core.errors import DataError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import UNUSED_FILES, RawDataset
from tasks.core.stage.stages import DOWNLOAD
from tasks.core.storage import hashing, manifests
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

DIGITS_IMAGES = 1797
LISTING = 2  # an ingredient; increase it when the meaning of a listing changes


def acquire(
    source: SourceSettings,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> RawDataset:
    """Download an archive or list a folder, and verify the content.

    Args:
        source: Which dataset.
        workspace: Where the listing and the archives are stored.
        refresh: Read every byte again, also of files whose stat is unchanged. An archive with the right
            SHA-256 is not downloaded again.
        progress: Called with bytes while downloading, and with files while hashing.

    Raises:
        UsageError: The arguments are invalid.
        DataError, ChecksumError, ArchiveError: The data are not as expected; nothing was written.
        NetworkError: The download failed; another attempt may succeed.
    """
    resolve.check_source(source)
    raw = _acquire(source, workspace, refresh, progress)
    return corrections.apply_corrections(raw, source.corrections, workspace, factory.open_raw)


def _acquire(source: SourceSettings, workspace: Workspace, refresh: bool, progress: Progress) -> RawDataset:
    resolved, name = resolve.resolve(source.dataset), resolve.dataset_name(source)
    if isinstance(resolved, str):
        from tasks.core.data.sources import remote_copies  # fsspec and httpx take 0.3 s to import

        copies = remote_copies.update_copies(resolved, workspace, refresh, progress)
        return _from_files(copies.path, name, copies.format_name, workspace, refresh, progress, copies.unused)
    if isinstance(resolved, Path):
        format_name = resolve.detect_format(resolved)
        return _from_files(resolved, name, format_name, workspace, refresh, progress)
    if not resolved.files:
        return _bundled(resolved, name, workspace)
    return _from_archive(resolved, name, source, workspace, refresh, progress)


def to_download(source: SourceSettings, workspace: Workspace) -> int:
    """Bytes of a catalog dataset's files that `acquire` would download."""
    resolved = resolve.resolve(source.dataset)
    return (
        archives.missing_bytes(resolved, workspace)
        if isinstance(resolved, DatasetSpec) and not source.archive
        else 0
    )


def _from_files(
    path: Path,
    name: str,
    format_name: str,
    workspace: Workspace,
    refresh: bool,
    progress: Progress,
    unused: pa.Table | None = None,
) -> RawDataset:
    file_format = FILE_FORMATS[format_name]
    if file_format.contents and unpacked_tar.is_needed(path):
        path = unpacked_tar.unpack(path, workspace, refresh, progress)
    root = path if path.is_dir() or file_format.contents else path.parent
    opened = partial(file_format.contents, root) if file_format.contents else None
    hashes = Hashes(root, workspace, ignore_cache=refresh, opened=opened)
    found = _scanned(file_format.scan, path)
    found_unused = found.filter(pc.not_equal(found["reason"], ""))
    used = found.filter(pc.equal(found["reason"], "")) if found_unused else found
    unused = found_unused if unused is None else unused
    files = _hashed(hashes, used, progress)
    inside = root.is_relative_to(workspace.root)  # downloaded files are moved with the workspace
    location = workspace.relative(root) if inside else str(root)

    def count() -> dict[str, Any]:
        return {"images": file_format.count(root, files), "unused_files": len(unused)}

    raw = _publish(name, format_name, location, None, files, workspace, count, unused)
    _log_unused(root, unused, raw)
    return raw


def _scanned(scan: Callable[[Path], pa.Table], path: Path) -> pa.Table:
    try:
        return scan(path)
    except FileNotFoundError as error:  # it was listed, and is gone
        raise DataError(
            f"{path} was changed while it was listed",
            expected="files that are not moved or removed meanwhile",
            found=f"no longer there: {error.filename or error}",
            done="nothing was written",
            todo="run again once nothing writes to it, or give a copy",
        ) from error


def _log_unused(root: Path, unused: pa.Table, raw: RawDataset) -> None:
    """Say what is not used; a warning unless these are system files, which lie in many folders."""
    reasons = unused["reason"].to_pylist()
    if reasons:
        level = logging.INFO if set(reasons) <= file_types.SYSTEM_REASONS else logging.WARNING
        table = raw.directory / quarantine_table.NAME
        log.log(level, "%s: not used: %s; %s names each", root, quarantine_table.counts(reasons), table)


def _hashed(hashes: Hashes, stats: pa.Table, progress: Progress) -> pa.Table:
    """The listing of the files of a `file_stats.stats_table`."""
    further = stats.column_names[len(file_stats.SCHEMA) :]
    hashed = stats.append_column("sha256", hashes.compute(stats, progress))
    listed = hashed.select([*listing.SCHEMA.names, *further])
    hashes.remember()
    log.debug("%s: %s files, %s read", hashes.root, f"{len(stats):,}", f"{hashes.read:,}")
    return listed


def _bundled(dataset: DatasetSpec, name: str, workspace: Workspace) -> RawDataset:
    path = arrays.digits_file()
    files = listing.table([ListedFile(path.name, path.stat().st_size, hashing.sha256_file(path))])
    return _publish(
        name,
        dataset.format,
        "",
        dataset.array_format,
        files,
        workspace,
        lambda: {"images": DIGITS_IMAGES},
    )


def _from_archive(
    dataset: DatasetSpec,
    name: str,
    source: SourceSettings,
    workspace: Workspace,
    refresh: bool,
    progress: Progress,
) -> RawDataset:
    """Verify the archives, list them, and count the images if the listing is new."""
    verified = archives.ensure_available(dataset, source, workspace, refresh, progress)
    files = listing.table(
        ListedFile(
            archive.kept.relative_to(workspace.downloads).as_posix(),
            archive.path.stat().st_size,
            archive.sha256,
        )
        for archive in verified
    )

    def count() -> dict[str, Any]:
        paths = {archive.kept.name: archive.path for archive in verified}
        sha256s = [archive.sha256 for archive in verified]
        reader = factory.open_archive(dataset.format, paths, sha256s, dataset.array_format)
        return {"images": reader.count(), "official": all(archive.official for archive in verified)}

    root = workspace.relative(workspace.downloads)
    handle = _publish(name, dataset.format, root, dataset.array_format, files, workspace, count)
    for archive in verified:
        archives.copy_into_workspace(archive)
    return handle


def _publish(
    dataset: str,
    format_name: str,
    root: str,
    array_format: ArrayFormat | None,
    files: pa.Table,
    workspace: Workspace,
    count: Callable[[], Mapping[str, Any]],
    unused: pa.Table | None = None,
) -> RawDataset:
    inputs = {"files": listing.digest(files)}
    if unused:
        inputs[UNUSED_FILES] = quarantine_table.digest(unused)
    ingredients = DOWNLOAD.ingredients(
        inputs,
        {
            "dataset": dataset,
            "format": getattr(factory.READERS[format_name], "identity", "") or format_name,
            "array_format": array_format and array_format.as_json(),
            "listing": LISTING,
        },
    )
    complete = manifests.is_complete(DOWNLOAD.directory(ingredients.digest, workspace))
    facts = {} if complete else count()  # counted before anything is written, since it can raise

    def build(staging: Path) -> Mapping[str, Any]:
        listing.write(staging, files)
        if unused:
            paths, reasons = (unused[name].to_pylist() for name in ("path", "reason"))
            done = [quarantine_table.LEFT_OUT] * len(unused)
            quarantine_table.write(staging, zip(paths, reasons, done, strict=True))
        return facts or count()

    return DOWNLOAD.output(ingredients, workspace, build, dataset=dataset, format=format_name, root=root)
