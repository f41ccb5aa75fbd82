"""Which reader understands which format. To add a format, add a module here and a row to `READERS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from tasks.core.data.files import listing
from tasks.core.data.readers import arrays, cifar, corrections, csv_table, idx, image_folder, parquet
from tasks.core.data.readers.array_format import ArrayFormat
from tasks.core.data.readers.arrays import ArrayReader
from tasks.core.data.readers.base import Reader
from tasks.core.data.readers.corrections import RelabelledReader
from tasks.core.data.readers.image_folder import ImageFolderReader
from tasks.core.data.readers.parquet import ParquetReader
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace

HERE = "tasks.core.data.readers"


class Scan(Protocol):
    """Looks at the files of a source without reading them; gives a `file_stats.stats_table`."""

    def __call__(self, path: Path, /) -> pa.Table: ...


@dataclass(frozen=True)
class FileFormat:
    """Images in files of the user's.

    Args:
        scan: Lists the files.
        open: Makes the reader from the root folder and the listing.
        count: Number of images; reads what it must, and refuses what cannot be read.
        suffixes: Of a single file of this format, lower case; empty if it is always a folder.
        folder_suffixes: Of the files by which a folder is known to be of this format.
        modules: Modules that decide what the reader gives: ingredients of its datasets' tensors only.
        libraries: Distributions that do.
    """

    scan: Scan
    open: Callable[[Path, pa.Table], Reader]
    count: Callable[[Path, pa.Table], int]
    suffixes: tuple[str, ...] = ()
    folder_suffixes: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArchiveFormat:
    """Images in the archives of a known dataset, read as a whole in any case.

    Args:
        open: Makes the reader from the files by name, and what the dataset's images are like.
        modules, libraries: As of `FileFormat`.
    """

    open: Callable[[Mapping[str, Path], ArrayFormat], ArrayReader]
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


def _listed(_: Path, files: pa.Table) -> int:
    return len(files)


READERS: dict[str, FileFormat | ArchiveFormat] = {
    # A folder that has images and files of other formats is one of images: the first row counts.
    "folder": FileFormat(
        scan=image_folder.scan,
        open=ImageFolderReader,
        count=_listed,
        folder_suffixes=frozenset(image_folder.SUFFIXES),
        modules=(f"{HERE}.image_folder",),
        libraries=("simplejpeg",),
    ),
    "csv": FileFormat(
        scan=csv_table.scan,
        open=ImageFolderReader,
        count=_listed,
        suffixes=(".csv",),
        modules=(f"{HERE}.image_folder",),
        libraries=("simplejpeg",),
    ),
    "parquet": FileFormat(
        scan=parquet.scan,
        open=ParquetReader,
        count=lambda root, files: ParquetReader(root, files).count(),
        suffixes=(".parquet",),
        folder_suffixes=frozenset({".parquet"}),
        modules=(f"{HERE}.parquet",),
        libraries=("simplejpeg", "pyarrow"),
    ),
    "digits": ArchiveFormat(
        open=arrays.open_digits, modules=(f"{HERE}.arrays",), libraries=("scikit-learn",)
    ),
    "cifar": ArchiveFormat(open=cifar.open_archive, modules=(f"{HERE}.cifar",)),
    "idx": ArchiveFormat(open=idx.open_files, modules=(f"{HERE}.idx",)),
}
FILE_FORMATS = {name: kind for name, kind in READERS.items() if isinstance(kind, FileFormat)}
SUFFIXES = {suffix: name for name, kind in FILE_FORMATS.items() for suffix in kind.suffixes}


def open_raw(raw: RawDataset) -> Reader:
    """The reader of a raw dataset, its labels put right if there are corrections."""
    return RelabelledReader.of(_source_reader(raw), raw)


def open_archive(name: str, files: Mapping[str, Path], form: ArrayFormat) -> ArrayReader:
    """The reader of a known dataset's archives, before they are listed.

    Args:
        name: The format, such as "cifar".
        files: The archives by their official names.
        form: What the dataset's images are like.
    """
    kind = READERS[name]
    assert isinstance(kind, ArchiveFormat)  # noqa: S101 - the catalog's own declaration
    return kind.open(files, form)


def modules(raw: RawDataset) -> tuple[str, ...]:
    """Dotted names of the modules that decide what the dataset's reader gives."""
    relabelled = (corrections.__name__,) if (raw.directory / corrections.NAME).exists() else ()
    return READERS[raw.format].modules + relabelled


def libraries(raw: RawDataset) -> tuple[str, ...]:
    """Distributions whose versions decide what the dataset's reader gives."""
    return READERS[raw.format].libraries


def is_read_whole(raw: RawDataset) -> bool:
    """Whether the source is read as a whole in any case, so that reusing images saves nothing."""
    return isinstance(READERS[raw.format], ArchiveFormat)


def _source_reader(raw: RawDataset) -> Reader:
    files = listing.read(raw.directory)
    root = Workspace.active().root / raw.root  # an absolute root stays as it is
    kind = READERS[raw.format]
    if isinstance(kind, FileFormat):
        return kind.open(root, files)
    parameters: dict[str, Any] = raw.manifest["ingredients"]["parameters"]
    names = {Path(path).name: root / path for path in files["path"].to_pylist()}
    return kind.open(names, ArrayFormat.of_json(parameters["form"]))
