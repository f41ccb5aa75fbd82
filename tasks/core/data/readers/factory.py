"""Which reader opens which format. To add a format, add a module here and a row to `READERS`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data import file_types
from tasks.core.data.files import archive, listing
from tasks.core.data.files.archive import Archive
from tasks.core.data.files.file_hashes import Contents
from tasks.core.data.readers import arrays, cifar, corrections, corrections_file, csv_table, idx
from tasks.core.data.readers.array_format import ArrayFormat
from tasks.core.data.readers.arrays import ArrayReader
from tasks.core.data.readers.base import Reader
from tasks.core.data.readers.corrections import RelabelledReader
from tasks.core.data.readers.image_folder import folders
from tasks.core.data.readers.image_folder.reader import ImageFolderReader
from tasks.core.data.readers.parquet import reader as parquet
from tasks.core.data.readers.parquet.reader import ParquetReader
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace

HERE = "tasks.core.data.readers"
IMAGE_FILES = (f"{HERE}.image_folder.reader",)
PILLOW_HEIF = "pillow-heif"


class Scan(Protocol):
    """Lists the files of a source without reading them, as a `file_stats.stats_table`."""

    def __call__(self, path: Path, /) -> pa.Table:
        """List the file or folder at `path`."""


@dataclass(frozen=True)
class FileFormat:
    """A format of files that users provide.

    Args:
        scan: Lists the files.
        open: Builds the reader from the root folder and the listing.
        count: The number of images. Reads what it must, and refuses what cannot be read.
        suffixes: Of a single file of this format, lower case; empty if a source is always a folder.
        folder_suffixes: Files with these suffixes mark a folder as being of this format.
        modules: Modules that decide what the reader gives; ingredients of its datasets' tensors only.
        libraries: Distributions that decide what the reader gives.
        identity: The format whose listing, and so whose identity, the same images have; empty for its own.
        contents: Opens a single file that has the listed files in it, and is the root of their paths; None
            if they are below a folder.
    """

    scan: Scan
    open: Callable[[Path, pa.Table], Reader]
    count: Callable[[Path, pa.Table], int]
    suffixes: tuple[str, ...] = ()
    folder_suffixes: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    identity: str = ""
    contents: Callable[[Path], Contents] | None = None


@dataclass(frozen=True)
class ArchiveFormat:
    """A format of the catalog's archives, which are always read completely.

    Args:
        open: Builds the reader from the files by name and the dataset's array format.
        modules, libraries: As in `FileFormat`.
    """

    open: Callable[[Mapping[str, Path], ArrayFormat], ArrayReader]
    modules: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()


def _count_listed(_: Path, files: pa.Table) -> int:
    return len(files)


def _scan_archive(path: Path) -> pa.Table:
    opened = Archive(path)
    files = folders.scan(path, folders.Walk(opened.tree.scandir, opened.read_head))
    opened.check_sizes(files.filter(pc.equal(files["reason"], "")))
    return files


READERS: dict[str, FileFormat | ArchiveFormat] = {
    # The first matching row counts: a folder with images and other files is a folder of images.
    "folder": FileFormat(
        scan=folders.scan,
        open=ImageFolderReader,
        count=_count_listed,
        folder_suffixes=file_types.SUFFIXES,
        modules=IMAGE_FILES,
        libraries=("simplejpeg",),
    ),
    # No module of archives is named: a reader compares every byte that it gets with the listed SHA-256.
    "archive": FileFormat(
        scan=_scan_archive,
        open=lambda root, files: ImageFolderReader(root, files, Archive(root).read),
        count=_count_listed,
        suffixes=archive.SUFFIXES,
        modules=IMAGE_FILES,
        libraries=("simplejpeg",),
        identity="folder",
        contents=lambda root: Archive(root).read,
    ),
    "csv": FileFormat(
        scan=csv_table.scan,
        open=ImageFolderReader,
        count=_count_listed,
        suffixes=(".csv", ".tsv"),
        modules=IMAGE_FILES,
        libraries=("simplejpeg",),
    ),
    "parquet": FileFormat(
        scan=parquet.scan,
        open=ParquetReader,
        count=lambda root, files: ParquetReader(root, files).count(),
        suffixes=(".parquet",),
        folder_suffixes=frozenset({".parquet"}),
        modules=(f"{HERE}.parquet.reader",),
        libraries=("simplejpeg", "pyarrow"),
    ),
    "digits": ArchiveFormat(
        open=arrays.open_digits, modules=(f"{HERE}.arrays",), libraries=("scikit-learn",)
    ),
    "cifar": ArchiveFormat(open=cifar.open_archive, modules=(f"{HERE}.cifar",)),
    "idx": ArchiveFormat(open=idx.open_files, modules=(f"{HERE}.idx",)),
}
FILE_FORMATS = {
    name: file_format for name, file_format in READERS.items() if isinstance(file_format, FileFormat)
}
SUFFIXES = {suffix: name for name, file_format in FILE_FORMATS.items() for suffix in file_format.suffixes}


def open_raw(raw: RawDataset) -> Reader:
    """The reader of a raw dataset, with corrected labels if it has corrections."""
    return RelabelledReader.of(_source_reader(raw), raw)


def open_archive(
    name: str, files: Mapping[str, Path], sha256s: Sequence[str], array_format: ArrayFormat
) -> ArrayReader:
    """The reader of a catalog dataset's archives before they are listed.

    Args:
        name: The format, such as "cifar".
        files: The archives by their official names.
        sha256s: Of the archives.
        array_format: What the dataset's images are like.
    """
    file_format = READERS[name]
    assert isinstance(file_format, ArchiveFormat)  # noqa: S101 - the catalog declares archive formats only
    return arrays.shared(sha256s, array_format, lambda: file_format.open(files, array_format))


def modules(raw: RawDataset) -> tuple[str, ...]:
    """Dotted names of the modules that decide what the dataset's reader gives."""
    relabelled = (corrections.__name__,) if (raw.directory / corrections_file.NAME).exists() else ()
    return READERS[raw.format].modules + relabelled


def libraries(raw: RawDataset) -> tuple[str, ...]:
    """Distributions whose versions decide what the dataset's reader gives.

    pillow-heif is one where it is installed and the dataset may have HEIC files. So its installation makes
    the stages of such a dataset run again, which then reads these files, and of no other.
    """
    file_format = READERS[raw.format]
    of_files = file_format.modules == IMAGE_FILES
    heif = of_files and find_spec("pillow_heif") is not None and _may_have_heif(raw.directory)
    return (*file_format.libraries, PILLOW_HEIF) if heif else file_format.libraries


@lru_cache(maxsize=8)  # 0.1 s for a million files, and a run asks several times
def _may_have_heif(directory: Path) -> bool:
    """Whether a listing has a file whose suffix does not name another format.

    Args:
        directory: Of the listing. Its digest is its name, so the answer never changes.
    """
    others = file_types.SUFFIXES - file_types.HEIF_SUFFIXES
    pattern = rf"(?i)\.({'|'.join(sorted(suffix[1:] for suffix in others))})$"
    return not pc.all(pc.match_substring_regex(listing.read_paths(directory), pattern)).as_py()


def is_read_whole(raw: RawDataset) -> bool:
    """Whether the reader always reads the complete source, so that reusing images saves nothing."""
    return isinstance(READERS[raw.format], ArchiveFormat)


def _source_reader(raw: RawDataset) -> Reader:
    files = listing.read(raw.directory)
    root = Workspace.active().root / raw.root  # an absolute `raw.root` replaces the workspace's root
    file_format = READERS[raw.format]
    if isinstance(file_format, FileFormat):
        return file_format.open(root, files)
    parameters: dict[str, Any] = raw.manifest["ingredients"]["parameters"]
    names = {Path(path).name: root / path for path in files["path"].to_pylist()}
    array_format = ArrayFormat.of_json(parameters["array_format"])
    return open_archive(raw.format, names, files["sha256"].to_pylist(), array_format)
