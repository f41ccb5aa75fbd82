"""Errors of archives in the form of this project."""

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tasks.core.errors import ArchiveError

LIBRARY_ERRORS = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError),
    # What tarfile and zipfile raise on damaged headers: numbers that are none, and features they do not have.
    *(ValueError, OverflowError, NotImplementedError, RuntimeError, KeyError, IndexError),
)


def archive_error(path: Path, what: str, *, expected: str, found: str = "", todo: str = "") -> ArchiveError:
    """The error for a user's archive.

    Args:
        path: The archive.
        what: What is wrong with it, as the predicate of a sentence.
        expected, found, todo: As in `PlumblineError`.
    """
    done = "nothing was written, the archive is unchanged"
    return ArchiveError(f"{path} {what}", expected=expected, found=found, done=done, todo=todo)


@contextmanager
def archive_errors(path: Path, member: str = "") -> Iterator[None]:
    """Turn what the libraries raise on damaged archives into an `ArchiveError`.

    Args:
        path: The archive.
        member: The member that is read, if it is one.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise archive_error(
            path, "has a member whose name is not UTF-8", expected="names in UTF-8", found=repr(error.object)
        ) from error
    except LIBRARY_ERRORS as error:
        raise archive_error(
            path,
            f"has {member}, which cannot be read" if member else "cannot be read",
            expected="a complete archive",
            found=getattr(error, "strerror", None) or str(error) or type(error).__name__,
            todo="copy or pack it again",
        ) from error
