"""Refusals of the operating system as one clear message, for every command."""

import errno
import os
import re
from pathlib import Path
from typing import NamedTuple

from tasks.core.errors import MachineError


class Refusal(NamedTuple):
    """What a kind of refusal means.

    Args:
        summary: The refusal as a sentence.
        todo: What the user can do.
    """

    summary: str
    todo: str


FULL = Refusal(
    "the disk is full", "free some space (`plumbline doctor` shows what a workspace has), and run again"
)
DENIED = Refusal(
    "a file or folder may not be read or written",
    "check the permissions, or name another folder; users who share a workspace need a common group and"
    " `umask 002`",
)
REFUSALS = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: Refusal("the disk quota is used up", FULL.todo),
    errno.EFBIG: Refusal("a file is larger than is allowed", "raise the limit (`ulimit -f`), and run again"),
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EROFS: Refusal("the file system is read-only", "name a folder that can be written to"),
    errno.ENAMETOOLONG: Refusal("a name is too long for the file system", "use a shorter name"),
    errno.ENOTDIR: Refusal("a part of a path is a file, not a folder", "name a folder"),
    errno.EISDIR: Refusal("a path is that of a folder, not of a file", "name a file"),
    errno.EMFILE: Refusal("too many files are open", "raise the limit (`ulimit -n 4096`), and run again"),
    errno.EIO: Refusal("the disk reports an error", "check the disk and its cables (`dmesg`), and run again"),
}
NUMBER = re.compile(r"errno\s*=?\s*(\d+)", re.IGNORECASE)  # Arrow and HDF5 have it in their text only
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # NumPy's `save` does not keep the number
UNFINISHED = Refusal("the disk is full, or the limit of a quota or of a file's size is reached", FULL.todo)
CONNECTION = dict.fromkeys(
    (
        *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT),
        *(errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EADDRINUSE),
    ),
    Refusal("a network connection failed", "check that the server runs and can be reached, and run again"),
)
GONE = Refusal("the current folder was removed", "change to a folder that exists, and run again")
OTHER = Refusal("a file operation failed", "check the path that is named")
LASTING = frozenset(REFUSALS) - {errno.EIO, errno.EMFILE}  # another attempt would meet the same refusal


def explained(error: OSError) -> MachineError | None:
    """The error as a message for the user; None if it is not one that the operating system reported.

    Args:
        error: What was raised.
    """
    refusal = _refusal(error)
    if refusal is None:
        return None
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None]
    return MachineError(
        refusal.summary,
        found=": ".join([error.strerror or str(error), *map(_shortened, names)]),
        done="finished outputs and checkpoints are kept; nothing is half-written",
        todo=refusal.todo,
    )


def lasts(error: BaseException | None) -> bool:
    """Whether another attempt would meet the same refusal."""
    return isinstance(error, OSError) and (_number(error) in LASTING or _refusal(error) is UNFINISHED)


def _refusal(error: OSError) -> Refusal | None:
    if _number(error) is None:
        return UNFINISHED if SHORT_WRITE.search(str(error)) else None
    if error.errno == errno.ENOENT and error.filename is None and _is_current_folder_gone():
        return GONE
    return (REFUSALS | CONNECTION).get(_number(error) or 0, OTHER)


def _is_current_folder_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _number(error: OSError) -> int | None:
    """The number of the operating system's error, also where a library only has it in its text."""
    if error.errno is not None:
        return error.errno
    match = NUMBER.search(str(error))
    return int(match[1]) if match else None


def _shortened(name: str, longest: int = 300) -> str:
    return name if len(name) <= longest else f"{name[: longest // 2]}...{name[-longest // 2 :]}"
