"""The download stage: look at the outside world and say, by content, what is there.

A raw dataset is a listing (`listing`), not a copy: a folder stays where it is, an archive lies in the
workspace's downloads. The digest follows from paths below the root, bytes, splits and class names.
"""

import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.core.config import SourceSettings
from tasks.core.data.files import listing
from tasks.core.data.files.file_hashes import Hashes
from tasks.core.data.files.listing import ListedFile
from tasks.core.data.readers import corrections, factory
from tasks.core.data.readers.array_format import ArrayFormat
from tasks.core.data.readers.factory import FILE_FORMATS
from tasks.core.data.sources import archives, remote, resolve
from tasks.core.data.sources.catalog import DatasetSpec
from tasks.core.errors import UsageError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.stages import DOWNLOAD
from tasks.core.storage import hashing, manifests
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

DIGITS = Path("datasets/data/digits.csv.gz")  # inside scikit-learn
DIGITS_IMAGES = 1797
LISTING = 2  # raise when a listing means something else than before


def acquire(
    source: SourceSettings,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> RawDataset:
    """Get the images' bytes, or look at the folder that has them.

    Args:
        source: Which dataset.
        workspace: Where the listing, and archives, are put.
        refresh: Read every byte again, also of files that look unchanged. An archive whose SHA-256 is
            right is not downloaded again.
        progress: Told bytes while downloading and files while hashing.

    Raises:
        UsageError: What was asked for cannot be.
        DataError, ChecksumError, ArchiveError: The data are not what they should be; nothing was written.
        NetworkError: The download failed and can be tried again.
    """
    resolve.check_source(source)
    seen = _look(source, workspace, refresh, progress)
    return corrections.apply_corrections(seen, source.corrections, workspace)


def _look(source: SourceSettings, workspace: Workspace, refresh: bool, progress: Progress) -> RawDataset:
    found = resolve.resolve(source.dataset)
    if isinstance(found, str):
        copies = remote.mirror(found, workspace, refresh, progress)
        return _from_files(copies, resolve.name_of(found), "parquet", workspace, refresh, progress)
    if isinstance(found, Path):
        name, kind = resolve.name_of(found), resolve.detect_format(found)
        return _from_files(found, name, kind, workspace, refresh, progress)
    if not found.files:
        return _bundled(found, workspace)
    return _from_archive(found, source, workspace, refresh, progress)


def to_download(source: SourceSettings, workspace: Workspace) -> int:
    """Bytes of a known dataset's files that `acquire` would have to download."""
    found = resolve.resolve(source.dataset)
    return (
        archives.missing_bytes(found, workspace)
        if isinstance(found, DatasetSpec) and not source.archive
        else 0
    )


def _from_files(
    path: Path, name: str, format_name: str, workspace: Workspace, refresh: bool, progress: Progress
) -> RawDataset:
    kind = FILE_FORMATS[format_name]
    root = path if path.is_dir() else path.parent
    files = _hashed(root, kind.scan(path), workspace, refresh, progress)
    inside = root.is_relative_to(workspace.root)  # a copy from an address moves with the workspace
    place = workspace.relative(root) if inside else str(root)
    return _publish(
        name, format_name, place, None, files, workspace, lambda: {"images": kind.count(root, files)}
    )


def _hashed(root: Path, seen: pa.Table, workspace: Workspace, refresh: bool, progress: Progress) -> pa.Table:
    """The listing of files that were seen."""
    hashes = Hashes(root, workspace, ignore_cache=refresh)
    listed = seen.append_column("sha256", hashes.compute(seen, progress)).select(listing.SCHEMA.names)
    hashes.remember()
    log.debug("%s: %s files, %s read", root, f"{len(seen):,}", f"{hashes.read:,}")
    return listed


def _bundled(known: DatasetSpec, workspace: Workspace) -> RawDataset:
    spec = find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise UsageError(
            "scikit-learn, which has the digits, is not installed", todo="pip install scikit-learn"
        )
    path = Path(spec.origin).parent / DIGITS
    files = listing.table([ListedFile(path.name, path.stat().st_size, hashing.sha256_file(path))])
    return _publish(
        known.name, known.format, "", known.array_format, files, workspace, lambda: {"images": DIGITS_IMAGES}
    )


def _from_archive(
    known: DatasetSpec, source: SourceSettings, workspace: Workspace, refresh: bool, progress: Progress
) -> RawDataset:
    """Verify the archive, count its images, list it; the count is only taken when the listing is new."""
    found = archives.ensure_available(known, source, workspace, refresh, progress)
    files = listing.table(
        ListedFile(
            original.kept.relative_to(workspace.downloads).as_posix(),
            original.path.stat().st_size,
            original.sha256,
        )
        for original in found
    )

    def count() -> dict[str, Any]:
        paths = {original.kept.name: original.path for original in found}
        reader = factory.open_archive(known.format, paths, known.array_format)
        return {"images": reader.count(), "official": all(original.official for original in found)}

    root = workspace.relative(workspace.downloads)
    handle = _publish(known.name, known.format, root, known.array_format, files, workspace, count)
    for original in found:
        archives.copy_into_workspace(original)
    return handle


def _publish(
    dataset: str,
    kind: str,
    root: str,
    form: ArrayFormat | None,
    files: pa.Table,
    workspace: Workspace,
    count: Callable[[], Mapping[str, Any]],
) -> RawDataset:
    made_of = DOWNLOAD.ingredients(
        {"files": listing.digest(files)},
        {"dataset": dataset, "format": kind, "form": form and form.as_json(), "listing": LISTING},
    )
    complete = manifests.is_complete(DOWNLOAD.directory(made_of.digest, workspace))
    facts = {} if complete else count()  # before anything is written, since it can refuse

    def build(staging: Path) -> Mapping[str, Any]:
        listing.write(staging, files)
        return facts or count()

    return DOWNLOAD.output(made_of, workspace, build, dataset=dataset, format=kind, root=root)
