"""A look at the first images of each class of a folder, before anything starts.

It refuses only what is certain: so many files of which the decoder reads nothing that the share of
`--max-quarantine` is exceeded, whatever the others are. The files that look odd are decoded: text, HEIC,
small files. A folder of photos costs its listing and the heads of a few files a class.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

from tasks.core import shares
from tasks.core.data import file_types
from tasks.core.data.decode import Target, decode
from tasks.core.data.readers.image_folder import folders
from tasks.core.errors import DecodeError, QuarantineError

FIRST = 3  # files of a class
SHOWN = 5  # images that the error names
SMALL = 4096  # bytes; an image of a few pixels is no larger, but for its metadata
SECONDS = 1.0  # after which this look ends without an answer
TARGET = Target((32, 32), 3)


def check(root: Path, allowed: float) -> None:
    """Look at the first images of each class; at more of a class if none of these can be read.

    Args:
        root: An image folder.
        allowed: The largest share of images that may be left out, 0..1.

    Raises:
        QuarantineError: More images cannot be used.
        DataError: See `folders.layout`.
    """
    end = time.monotonic() + SECONDS
    splits, _ = folders.layout(root, folders.DISK)
    classes = [list(_files(folder / name, end)) for _, folder, names in splits for name in names]
    most = allowed * sum(map(len, classes))
    bad: list[tuple[str, str]] = []
    for path, reason in _unreadable(classes, end):
        bad.append((str(Path(path).relative_to(root)), reason))
        if len(bad) > max(most, SHOWN):
            break
    if len(bad) > most and time.monotonic() < end:
        raise _refusal(bad, sum(map(len, classes)), allowed)


def _files(folder: Path, end: float) -> Iterator[str]:
    """All files of a class, used or not: so the share of the bad ones is never said too large."""
    for parent, subfolders, names in os.walk(folder):
        subfolders[:] = sorted(
            name for name in subfolders if not file_types.reason_of_folder(name, f"{parent}/{name}")
        )
        yield from (f"{parent}/{name}" for name in sorted(names))
        if time.monotonic() > end:
            return


def _unreadable(classes: list[list[str]], end: float) -> Iterator[tuple[str, str]]:
    """Path and reason of files that cannot be read."""
    for files in classes:
        images = [path for path in files if file_types.claims_to_be_image(path.rpartition("/")[2])]
        found = [(path, problem(path)) for path in images[:FIRST]]
        yield from ((path, reason) for path, reason in found if reason)
        if not all(reason for _, reason in found):
            continue
        for path in images[FIRST:]:
            if time.monotonic() > end:
                return
            if reason := problem(path):
                yield path, reason


def problem(path: str) -> str:
    """Why a file that claims to be an image cannot be decoded; empty if it can, or if it looks like one."""
    try:
        head = file_types.read_head(path)
        is_usual = file_types.by_content(head) is file_types.IMAGE
        if is_usual and Path(path).stat().st_size > SMALL:
            return ""
        decode(Path(path).read_bytes(), TARGET)
    except DecodeError as error:
        return error.summary
    except OSError:  # the stages explain what the operating system refuses
        return ""
    return ""


def _refusal(bad: list[tuple[str, str]], files: int, allowed: float) -> QuarantineError:
    more = f" and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else ""
    return QuarantineError(
        f"at least {len(bad):,} of {shares.counted(files, 'image')} cannot be used",
        expected=f"at most {shares.percent(allowed)} (--max-quarantine {allowed:g})",
        found="; ".join(f"{path}: {reason}" for path, reason in bad[:SHOWN]) + more,
        done="nothing was started",
        todo="repair or remove these files, or allow more with --max-quarantine",
    )
