"""Files as the system shows them, unread: a table of one line a file, made of few Python objects.

A tuple of names, sizes and times takes some 700 bytes of memory a file, these columns 60.
"""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pyarrow as pa

from tasks.core.errors import DataError

BATCH = 4096  # lines that are Python objects at the same time
ROW_GROUP = 1 << 14  # lines of a parquet file that are encoded at the same time
SCHEMA = pa.schema(
    {
        "path": pa.string(),  # relative to the root, with forward slashes
        "split": pa.string(),  # train, val, test, or empty in a source without splits
        "class_name": pa.string(),  # empty for a file of many images
        "bytes": pa.int64(),
        "mtime_ns": pa.int64(),
        "ctime_ns": pa.int64(),
    }
)
FileStat = tuple[str, str, str, int, int, int]


def file_stat(path: str, split: str, class_name: str, status: os.stat_result) -> FileStat:
    """A file's line; fields as in `SCHEMA`."""
    return path, split, class_name, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def stats_table(root: Path, lines: Iterable[FileStat]) -> pa.Table:
    """The lines as a table, sorted by path.

    Args:
        root: What the files lie in, for the message.
        lines: In any order.

    Raises:
        DataError: A name is no text.
    """
    lines, batches = iter(lines), []
    while some := list(islice(lines, BATCH)):
        columns = list(zip(*some, strict=True))
        _refuse_odd_names(root, columns[0])
        batches.append(pa.record_batch([*map(pa.array, columns, SCHEMA.types)], schema=SCHEMA))
    table = pa.Table.from_batches(batches, SCHEMA)
    batches.clear()
    return table.sort_by("path").combine_chunks()


def _refuse_odd_names(root: Path, paths: Iterable[str]) -> None:
    """Tables hold text, so every name must be text."""
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{root} has a file whose name is not UTF-8",
                expected="names that are text in UTF-8",
                found=repr(os.fsencode(path)),
                done="nothing was written, the data are unchanged",
                todo="rename it",
            ) from error
