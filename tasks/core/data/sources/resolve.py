"""What the values of `--dataset` and `--archive` mean, and checks of them."""

import difflib
import os
import re
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from tasks.core.addresses import is_readable
from tasks.core.config import SourceSettings
from tasks.core.data import file_types, split_names
from tasks.core.data.files.name_tree import is_dir, is_file
from tasks.core.data.grouping import option
from tasks.core.data.readers.factory import FILE_FORMATS, SUFFIXES
from tasks.core.data.sources import dataset_names
from tasks.core.data.sources.catalog import DATASETS, DatasetSpec
from tasks.core.errors import UsageError
from tasks.core.workspace import expanded, of_text

EXPECTED = (
    "a folder with <class>/* or {train,val,test}/<class>/*, a .zip or .tar of one, a CSV of path and label, "
    "parquet files of images"
)


def resolve(dataset: str) -> DatasetSpec | Path | str:
    """What a `dataset` argument means: a built-in dataset comes first, then an address, then a path.

    Returns:
        A built-in dataset, an absolute path (`detect_format` tells its format), or an address.

    Raises:
        UsageError: It is none of these, or a path that is not UTF-8.
    """
    if dataset in DATASETS:
        return DATASETS[dataset]
    scheme, separator, rest = dataset.partition("://")
    if separator and scheme != "file":
        _check_readable(dataset)
        return dataset
    path = expanded(rest if separator else dataset)
    if path.is_dir() or (path.is_file() and format_of(path.name)):
        return of_text(path.resolve(), "dataset", "--dataset")
    raise _no_images_at(dataset, path) if "/" in dataset or path.exists() else _no_dataset(dataset)


def _no_images_at(dataset: str, path: Path) -> UsageError:
    known = f"give an existing path, or one of the built-in datasets: {', '.join(DATASETS)}"
    return UsageError(
        f"No images can be read from {dataset}",
        expected=EXPECTED,
        found="a file of an unsupported type" if path.exists() else f"nothing at {path.absolute()}",
        done="nothing was started",
        todo="give one of these; unpack other archives first" if path.exists() else known,
    )


def _no_dataset(dataset: str) -> UsageError:
    close = difflib.get_close_matches(dataset.lower(), DATASETS, cutoff=0.5)
    todo = (
        f"did you mean {' or '.join(close)}?" if close else "name one of these; a path starts at this folder"
    )
    return UsageError(
        f'There is no dataset "{dataset}"',
        expected=f"one of {', '.join(DATASETS)}, or {EXPECTED}",
        found=f"no built-in dataset of this name, and nothing at {expanded(dataset).absolute()}",
        done="nothing was started",
        todo=todo,
    )


def _check_readable(address: str) -> None:
    if not is_readable(address):
        raise UsageError(
            f"No images can be read from {address}",
            expected=EXPECTED,
            found="an address that cannot be taken apart (its brackets or its port)",
            done="nothing was started",
        )


def detect_format(path: Path) -> str:
    """The format of an existing file or folder: a key of `factory.FILE_FORMATS`.

    A folder has the first format of which it contains a file. A folder without any counts as an image folder.
    """
    if path.is_file():
        return format_of(path.name)
    for name, file_format in FILE_FORMATS.items():
        if any(_has_suffix(folder, file_format.folder_suffixes) for folder in _searched_folders(path)):
            return name
    return "folder"


def format_of(name: str) -> str:
    """The format of a single file by its name; empty if there is none for it.

    >>> format_of("Photos.tar.gz"), format_of("photos.gz")
    ('archive', '')
    """
    return next((found for suffix, found in SUFFIXES.items() if name.lower().endswith(suffix)), "")


def _searched_folders(root: Path) -> Iterator[Path]:
    """A folder and its subfolders, two levels deep: enough for <split>/<class>/* and data/*.parquet."""
    yield root
    for child in _folders(root):
        yield child
        yield from _folders(child)


def _folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if is_dir(entry) and not file_types.reason_of_folder(entry.name, entry.path)
        ]


def _has_suffix(folder: Path, suffixes: Set[str]) -> bool:
    """Whether a folder has a file with one of the suffixes; stops at the first."""
    with os.scandir(folder) as entries:
        return any(Path(entry.name).suffix.lower() in suffixes and is_file(entry) for entry in entries)


def name_of(source: Path | str) -> str:
    """The dataset name of a path or address, see `dataset_names`; an address counts without its query.

    >>> name_of(Path("/data/My Photos (2024)")), name_of(Path("/data/birds/labels.csv"))
    ('my-photos-2024', 'birds-labels')
    """
    if isinstance(source, str) and "://" in source:
        address = urlsplit(source)
        path = PurePosixPath(address.netloc.rpartition("@")[2] + unquote(address.path))
    else:
        path = PurePosixPath(source)
    parts = [part for part in path.parts if part != "/"] or [""]
    last = parts[-1]
    for suffix in SUFFIXES:
        last = last[: -len(suffix)] if last.lower().endswith(suffix) else last
    return dataset_names.of_parts([*parts[:-1], last])


def dataset_name(source: SourceSettings) -> str:
    """The name under which a dataset's runs and models are filed: `--name`, else that of the source."""
    if source.name:
        return source.name
    resolved = resolve(source.dataset)
    return resolved.name if isinstance(resolved, DatasetSpec) else name_of(resolved)


def check_source(source: SourceSettings) -> None:
    """Check the arguments before anything starts. Paths are checked, no file is read.

    Raises:
        UsageError: Unknown dataset, missing folder, or an archive that is missing or not applicable.
    """
    _check_name(source.name)
    resolved = resolve(source.dataset)
    if source.archive is None:
        if source.archive_sha256 is not None:
            raise UsageError("--archive-sha256 is the SHA-256 of --archive, but there is no --archive")
        return
    if not isinstance(resolved, DatasetSpec) or not resolved.files:
        raise UsageError(
            f"--archive cannot be used with {source.dataset}",
            expected=f"one of {', '.join(dataset.name for dataset in DATASETS.values() if dataset.files)}",
            found="a bundled dataset without an archive"
            if isinstance(resolved, DatasetSpec)
            else "your own data",
        )
    _check_archive(resolved, expanded(source.archive))
    if source.archive_sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", source.archive_sha256):
        raise UsageError(
            "--archive-sha256 is not a SHA-256",
            expected="64 hexadecimal digits",
            found=source.archive_sha256,
        )


def check_split(split: str | None) -> None:
    """Refuse a split that no source has.

    Raises:
        UsageError: It is none of train, val and test.
    """
    if split and split not in split_names.WORDS:
        raise UsageError("there is no such split", expected=", ".join(split_names.WORDS), found=split)


def check_group_by(source: SourceSettings, group_by: str | None) -> None:
    """Check the option before anything starts.

    Raises:
        UsageError: It cannot be read, or the dataset's images are no files.
    """
    if not group_by:
        return
    option.parse(group_by)
    if isinstance(resolve(source.dataset), DatasetSpec):
        raise UsageError(
            "--group-by needs images that are files",
            expected="a folder, an archive, a CSV or parquet files",
            found=f"the known dataset {source.dataset}",
        )


def _check_name(name: str | None) -> None:
    if name is not None and name != dataset_names.slug(name):
        raise UsageError(
            "--name cannot be the name of a dataset",
            expected='lower case letters, digits, ".", "_" and "-"',
            found=repr(name),
            done="nothing was started",
            todo=f"--name {dataset_names.slug(name)}",
        )


def _check_archive(dataset: DatasetSpec, path: Path) -> None:
    names = [file.name for file in dataset.files]
    if len(names) == 1 and not path.is_file():
        raise UsageError(f"The archive {path} does not exist", expected=f"an existing file, {names[0]}")
    missing = [name for name in names if len(names) > 1 and not (path / name).is_file()]
    if missing:
        raise UsageError(
            f"The archive {path} is incomplete",
            expected=f"a folder with {', '.join(names)}",
            found=f"no {', '.join(missing)}" if path.is_dir() else "no folder of this name",
        )
