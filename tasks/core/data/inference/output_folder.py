"""The folders that predictions go to: what may be in them, and whether they stay."""

import os
import re
from contextlib import nullcontext
from pathlib import Path

from tasks.core.errors import UsageError

BATCH = re.compile(r"batch=.*")  # a batch's folder
EMBEDDINGS = re.compile(r"\d{8}-\d{6}-[0-9a-f]+-\d+\.parquet")  # of a part of a batch
TEMPORARY = "plumbline-predict-"  # around a folder that is removed once its rows are read


def check(folder: Path, own: re.Pattern[str] = BATCH, rows: str = "predictions") -> None:
    """Refuse what is no folder for rows: readers of the table would read the files that are there, too.

    Args:
        folder: The folder, new or with rows of earlier runs.
        own: Names of what such runs write, beside those that begin with "_" or ".".
        rows: What the rows are.

    Raises:
        UsageError: It is a file, or a folder with other things than such rows.
    """
    expected, done = f"a folder, new or with earlier {rows}", "nothing was predicted"
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file", expected=expected, done=done, todo="name a folder")
    if others := _strangers(folder, own):
        more = f" and {len(others) - 1:,} more" if len(others) > 1 else ""
        found, todo = f"{others[0]}{more}", "name another folder, such as a new one in it"
        raise UsageError(f"{folder} has other files", expected=expected, found=found, done=done, todo=todo)


def _strangers(folder: Path, own: re.Pattern[str]) -> list[str]:
    """What is in a folder without rows; the list of one with rows, which may be long, ends at the first."""
    others = []
    with os.scandir(folder) if folder.exists() else nullcontext(()) as entries:
        for entry in entries:
            if own.fullmatch(entry.name):
                return []
            if not entry.name.startswith(("_", ".")):
                others.append(entry.name)
    return sorted(others)


def kept_in(batch: Path) -> str:
    """Where the folder of a batch stays, for the end of a message; empty if nobody keeps it."""
    return "" if batch.parent.parent.name.startswith(TEMPORARY) else f"; in {batch}"
