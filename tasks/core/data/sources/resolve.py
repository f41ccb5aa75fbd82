"""What a person means by `--dataset` and `--archive`, and what cannot be meant."""

import difflib
import os
import re
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath

from tasks.core.config import SourceSettings
from tasks.core.data.readers.factory import FILE_FORMATS, SUFFIXES
from tasks.core.data.sources.catalog import DATASETS, DatasetSpec
from tasks.core.errors import UsageError

EXPECTED = (
    "a folder with <class>/* or {train,val,test}/<class>/*, a CSV of path and label, parquet files of images"
)


def resolve(dataset: str) -> DatasetSpec | Path | str:
    """What a `dataset` argument means: a known name comes first, then an address, then a path.

    Returns:
        A known dataset, an absolute path (what is there is told by `detect_format`), or an address.

    Raises:
        UsageError: None of these.
    """
    if dataset in DATASETS:
        return DATASETS[dataset]
    scheme, separator, rest = dataset.partition("://")
    if separator and scheme != "file":
        return dataset
    path = Path(rest if separator else dataset).expanduser()
    if path.is_dir() or (path.is_file() and path.suffix.lower() in SUFFIXES):
        return path.resolve()
    if "/" in dataset or path.exists():
        raise UsageError(
            f"{dataset} is nothing that images can be read from",
            expected=EXPECTED,
            found="a file of another kind" if path.exists() else "nothing at this path",
            todo=f"give an existing path, or one of the known datasets: {', '.join(DATASETS)}",
        )
    close = difflib.get_close_matches(dataset.lower(), DATASETS, cutoff=0.5)
    raise UsageError(
        f'There is no dataset "{dataset}"',
        expected=f"one of {', '.join(DATASETS)}, or {EXPECTED}",
        found="neither a known name nor a path",
        done="nothing was started",
        todo=f"did you mean {' or '.join(close)}?" if close else "",
    )


def detect_format(path: Path) -> str:
    """The format of an existing file or folder, as `factory.FILE_FORMATS` names it.

    A folder is of the first format of which it has a file; one without any counts as a folder of images.
    """
    if path.is_file():
        return SUFFIXES[path.suffix.lower()]
    for name, kind in FILE_FORMATS.items():
        if any(_first(place, kind.folder_suffixes) for place in _places(path)):
            return name
    return "folder"


def _places(root: Path) -> Iterator[Path]:
    """A folder and those below it, two levels deep: deep enough for <split>/<class>/* and data/*.parquet."""
    yield root
    for child in _folders(root):
        yield child
        yield from _folders(child)


def _folders(root: Path) -> list[Path]:
    with os.scandir(root) as entries:
        return [Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def _first(folder: Path, suffixes: Set[str]) -> bool:
    """Whether a folder has a file with one of the suffixes; stops at the first."""
    with os.scandir(folder) as entries:
        return any(Path(entry.name).suffix.lower() in suffixes and entry.is_file() for entry in entries)


def name_of(source: Path | str) -> str:
    """The name of a path or address as it can be filed: lower case letters, digits, "." "_" and "-".

    >>> name_of(Path("/data/My Photos (2024)"))
    'my-photos-2024'
    """
    last = PurePosixPath(source).name
    for suffix in SUFFIXES:
        last = last.removesuffix(suffix)
    slug = re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-._")
    return slug or "folder"


def dataset_name(dataset: str) -> str:
    """The name under which a dataset's runs and models are filed; arguments as `resolve`."""
    found = resolve(dataset)
    return found.name if isinstance(found, DatasetSpec) else name_of(found)


def check_source(source: SourceSettings) -> None:
    """Refuse what cannot be before anything starts; looks at paths, reads no file.

    Raises:
        UsageError: Unknown dataset, missing folder, or an archive that is missing or makes no sense.
    """
    found = resolve(source.dataset)
    if source.archive is None:
        if source.archive_sha256 is not None:
            raise UsageError("--archive-sha256 says what --archive must be, but there is no --archive")
        return
    if not isinstance(found, DatasetSpec) or not found.files:
        raise UsageError(
            f"--archive cannot be used with {source.dataset}",
            expected=f"one of {', '.join(known.name for known in DATASETS.values() if known.files)}",
            found="a bundled dataset without an archive"
            if isinstance(found, DatasetSpec)
            else "data of your own",
        )
    _check_archive(found, source.archive.expanduser())
    if source.archive_sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", source.archive_sha256):
        raise UsageError(
            "--archive-sha256 is not a SHA-256",
            expected="64 hexadecimal digits",
            found=source.archive_sha256,
        )


def _check_archive(known: DatasetSpec, given: Path) -> None:
    names = [file.name for file in known.files]
    if len(names) == 1 and not given.is_file():
        raise UsageError(f"The archive {given} is not there", expected=f"an existing file, {names[0]}")
    missing = [name for name in names if len(names) > 1 and not (given / name).is_file()]
    if missing:
        raise UsageError(
            f"The archive {given} is not there as a whole",
            expected=f"a folder with {', '.join(names)}",
            found=f"no {', '.join(missing)}" if given.is_dir() else "no folder of this name",
        )
