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
from tasks.core.data.readers import corrections, csv_table, image_folder, parquet
from tasks.core.data.readers.array_format import ArrayFormat
from tasks.core.data.readers.arrays import ArrayReader
from tasks.core.data.readers.parquet import ParquetReader
from tasks.core.data.sources import archives, remote, resolve
from tasks.core.data.sources.catalog import DatasetSpec
from tasks.core.errors import UsageError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage import publish
from tasks.core.stage.handles import RawDataset
from tasks.core.stage.ingredients import Ingredients
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
        return _from_shards(copies, resolve.name_of(found), workspace, refresh, progress)
    if isinstance(found, Path):
        return _from_path(found, workspace, refresh, progress)
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


def _from_path(path: Path, workspace: Workspace, refresh: bool, progress: Progress) -> RawDataset:
    name, kind = resolve.name_of(path), resolve.detect_format(path)
    if kind == "parquet":
        return _from_shards(path, name, workspace, refresh, progress)
    if kind == "csv":
        return _from_images(path.parent, name, csv_table.scan(path), workspace, refresh, progress)
    return _from_images(path, name, image_folder.scan(path), workspace, refresh, progress)


def _from_images(
    root: Path, name: str, seen: pa.Table, workspace: Workspace, refresh: bool, progress: Progress
) -> RawDataset:
    files = _hashed(root, seen, workspace, refresh, progress)
    return _publish(name, "folder", str(root), None, files, workspace, lambda: {"images": len(files)})


def _from_shards(
    path: Path, name: str, workspace: Workspace, refresh: bool, progress: Progress
) -> RawDataset:
    root = path if path.is_dir() else path.parent
    files = _hashed(root, parquet.scan(path), workspace, refresh, progress)

    def count() -> dict[str, Any]:
        return {"images": ParquetReader(root, files).count()}

    inside = root.is_relative_to(workspace.root)  # a copy from an address moves with the workspace
    place = workspace.relative(root) if inside else str(root)
    return _publish(name, "parquet", place, None, files, workspace, count)


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
        arrays = ArrayReader(
            known.format, known.array_format, {original.kept.name: original.path for original in found}
        )
        return {"images": arrays.count(), "official": all(original.official for original in found)}

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
    ingredients = Ingredients(
        stage="download",
        inputs={"files": listing.digest(files)},
        parameters={"dataset": dataset, "kind": kind, "form": form and form.as_json(), "listing": LISTING},
    )

    directory = workspace.raw / ingredients.digest
    facts = (
        {} if manifests.is_complete(directory) else count()
    )  # before anything is written, since it can refuse

    def build(staging: Path) -> Mapping[str, Any]:
        listing.write(staging, files)
        return facts or count()

    manifest = publish.publish(directory, ingredients, build)
    return RawDataset(
        path=workspace.relative(directory),
        digest=ingredients.digest,
        dataset=dataset,
        format=kind,
        root=root,
        images=manifest["facts"]["images"],
    )
