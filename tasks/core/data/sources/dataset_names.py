"""The name of a dataset: what its models, runs and reports are filed under, in every command.

Letters and digits of every script are kept, in Unicode's normal form C, so that a name that macOS gives in
form D is the same one. A name is also a file name, a folder of a hive-partitioned table, and a part of an
object store's key.
"""

import hashlib
import re
import unicodedata
from urllib.parse import quote

LONGEST = 200  # bytes of a name in percent-encoding: the folder of a table is `dataset=<name>`
KEPT = "LMN"  # first letters of the Unicode categories of letters, marks and numbers
UNNAMED = "folder"
# Names of files and folders that say nothing about what is in them: the parent's name goes before them.
GENERIC = frozenset(
    {"label", "labels", "annotations", "metadata", "index", "data", "dataset", "datasets", "files", "all"}
    | {"train", "training", "val", "valid", "validation", "test", "testing", "image", "images", "img", "imgs"}
    | {"plain_text", "default", "raw", "input", "archive", "download", "downloads", "main", "export", "csv"}
)
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")  # of Windows, with any suffix


def slug(text: str) -> str:
    """A text as a dataset's name: lower case letters and digits of any script, ".", "_" and "-".

    >>> slug("My Photos (2024)"), slug("Café")
    ('my-photos-2024', 'café')
    """
    lower = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    kept = "".join(letter if _is_kept(letter) else "\0" for letter in lower)
    name = re.sub("\0+", "-", kept).strip("-._") or UNNAMED
    if RESERVED.fullmatch(name):
        name = f"{name}-data"
    return name if len(quote(name)) <= LONGEST else _shortened(name)


def _is_kept(letter: str) -> bool:
    return letter in "._-" or unicodedata.category(letter)[0] in KEPT


def _shortened(name: str) -> str:
    """The beginning of a long name, and 8 digits of its hash."""
    start = name
    while len(quote(start)) > LONGEST - 9:
        start = start[:-1]
    return f"{start}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def of_parts(parts: list[str]) -> str:
    """The name of a source by the parts of its path, the last one without the suffix of its format.

    >>> of_parts(["home", "birds", "labels"]), of_parts(["home", "birds"])
    ('birds-labels', 'birds')
    """
    start = len(parts) - 1
    while start > 0 and slug(parts[start]) in GENERIC:
        start -= 1
    return slug("-".join(parts[max(0, start) :]))
