"""What a person means by `--dataset` and `--archive`, and what cannot be meant."""

import difflib
import re
from pathlib import Path

from tasks.core.config import SourceSettings
from tasks.core.data.known import KNOWN, Known
from tasks.core.errors import UsageError


def find(dataset: str) -> Known | Path:
    """What a `dataset` argument means: a known name comes first, then a path.

    Raises:
        UsageError: Neither a known name nor an existing folder.
    """
    if dataset in KNOWN:
        return KNOWN[dataset]
    path = Path(dataset).expanduser()
    if path.is_dir():
        return path.resolve()
    if "/" in dataset or path.exists():
        raise UsageError(
            f"{dataset} is not a folder of images",
            expected="a folder with <class>/* or {train,val,test}/<class>/*",
            found="a file" if path.exists() else "nothing at this path",
            todo=f"give an existing folder, or one of the known datasets: {', '.join(KNOWN)}",
        )
    close = difflib.get_close_matches(dataset.lower(), KNOWN, cutoff=0.5)
    raise UsageError(
        f'There is no dataset "{dataset}"',
        expected=f"one of {', '.join(KNOWN)}, or the path of a folder of images",
        found="neither a known name nor a folder",
        done="nothing was started",
        todo=f"did you mean {' or '.join(close)}?" if close else "",
    )


def name_of(folder: Path) -> str:
    """A folder's name as it can be filed: lower case letters, digits, "." "_" and "-".

    >>> name_of(Path("/data/My Photos (2024)"))
    'my-photos-2024'
    """
    slug = re.sub(r"[^a-z0-9._-]+", "-", folder.name.lower()).strip("-._")
    return slug or "folder"


def check(source: SourceSettings) -> None:
    """Refuse what cannot be before anything starts; looks at paths, reads no file.

    Raises:
        UsageError: Unknown dataset, missing folder, or an archive that is missing or makes no sense.
    """
    found = find(source.dataset)
    if source.archive is None:
        if source.archive_sha256 is not None:
            raise UsageError("--archive-sha256 says what --archive must be, but there is no --archive")
        return
    if isinstance(found, Path) or not found.files:
        raise UsageError(
            f"--archive cannot be used with {source.dataset}",
            expected=f"one of {', '.join(known.name for known in KNOWN.values() if known.files)}",
            found="a folder of images" if isinstance(found, Path) else "a bundled dataset without an archive",
        )
    _check_archive(found, source.archive.expanduser())
    if source.archive_sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", source.archive_sha256):
        raise UsageError(
            "--archive-sha256 is not a SHA-256",
            expected="64 hexadecimal digits",
            found=source.archive_sha256,
        )


def _check_archive(known: Known, given: Path) -> None:
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
