"""Names that come from outside, such as those of archive members and remote files: which of them may be used.

Only the text decides, so the answer is the same on every machine. A leaf: it may be used wherever a name from
outside becomes a path.
"""

import re
from collections.abc import Callable
from pathlib import Path

from tasks.core.errors import DataError

LONGEST = 242  # bytes of one part: ext4, XFS and APFS take 255, and a temporary name adds up to 13
DRIVE = re.compile(r"[A-Za-z]:")
REFUSALS: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("is not UTF-8", lambda name: not _is_utf8(name)),
    ("is empty", lambda name: not name),
    ("has a zero byte", lambda name: "\0" in name),
    ("has a backslash", lambda name: "\\" in name),
    ("is absolute", lambda name: name.startswith("/")),
    ("has a drive letter", DRIVE.match),
    ("has a part ..", lambda name: ".." in name.split("/")),
    ("has an empty part or a part .", lambda name: {"", "."} & set(name.split("/"))),
    (
        f"has a part of more than {LONGEST} bytes",
        lambda name: max(map(len, name.encode().split(b"/"))) > LONGEST,
    ),
)


def refusal(name: str) -> str:
    """Why a name must not be used for a file inside a folder.

    Args:
        name: Relative to the folder, with forward slashes. Bytes that are not UTF-8 are surrogates.

    Returns:
        The predicate of a sentence about the name; empty if the name stays inside.

    >>> refusal("cat/1.jpg"), refusal("cat/../../1.jpg")
    ('', 'has a part ..')
    """
    return next((reason for reason, applies in REFUSALS if applies(name)), "")


def path_inside(folder: Path, name: str, source: str) -> Path:
    """The path of a file inside a folder.

    Args:
        folder: The folder; it does not need to exist.
        name: As in `refusal`.
        source: Where the name comes from, for the message.

    Raises:
        DataError: The name could lead out of the folder, or is not one file's only name.
    """
    reason = refusal(name)
    if reason:
        raise DataError(
            f"{source} has a file whose name {reason}",
            expected="relative names in UTF-8, with forward slashes, that stay inside the folder",
            found=repr(name),
            done="nothing was written under this name",
            todo="rename the file",
        )
    return folder / name


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
