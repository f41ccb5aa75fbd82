"""Stat of files, unread, as a table with one row per file.

A row takes some 60 bytes in these columns; as a tuple of Python objects it takes 700.
"""

import os
import sys
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import pyarrow as pa

from tasks.core.errors import DataError

LAST = (1 << 63) - 1  # ns since 1970
BATCH = 4096  # rows held as Python objects at a time
ROW_GROUP = 1 << 14  # rows of a parquet file that are encoded at a time
SCHEMA = pa.schema(
    {
        "path": pa.string(),  # relative to the root, with forward slashes
        "split": pa.string(),  # train, val, test, or empty in a source without splits
        "class_name": pa.string(),  # empty for a file of many images
        "bytes": pa.int64(),
        "mtime_ns": pa.int64(),
        "ctime_ns": pa.int64(),
        "reason": pa.string(),  # why the file is not used, such as "a video (MP4): not an image"; or empty
    }
)
FileStat = tuple[str, str, str, int, int, int, str]


def file_stat(path: str, split: str, class_name: str, status: os.stat_result, reason: str = "") -> FileStat:
    """A file's row; fields as in `SCHEMA`. A time after the year 2262 is the last one of 64 bits."""
    modified, changed = (max(-LAST, min(LAST, time)) for time in (status.st_mtime_ns, status.st_ctime_ns))
    return path, split, class_name, status.st_size, modified, changed, reason


def stats_table(root: Path, stats: Iterable[FileStat], columns: Iterable[list[pa.Array]] = ()) -> pa.Table:
    """The rows as a table of `SCHEMA`, sorted by path.

    Args:
        root: What contains the files, for the message.
        stats: Rows in any order.
        columns: More rows, as the columns of tables.

    Raises:
        DataError: A name is not UTF-8.
    """
    stats, batches = iter(stats), []
    while batch := list(islice(stats, BATCH)):
        fields = list(zip(*batch, strict=True))
        refuse_odd_names(root, fields[0])
        batches.append(pa.record_batch([*map(pa.array, fields, SCHEMA.types)], schema=SCHEMA))
    batches += [pa.record_batch(more, schema=SCHEMA) for more in columns]
    table = pa.Table.from_batches(batches, SCHEMA)
    batches.clear()
    return table.sort_by("path").combine_chunks()


def refuse_odd_names(root: Path, paths: Iterable[str]) -> None:
    """Refuse names that are not UTF-8, since tables store text."""
    encoding = sys.getfilesystemencoding()
    for path in paths:
        if encoding != "utf-8" and not path.isascii():  # in a worker or Python; commands use UTF-8
            raise DataError(
                f"{root} has a file or folder whose name Python cannot read here",
                expected="UTF-8 as Python's encoding of file names",
                found=encoding,
                done="nothing was written, the data are unchanged",
                todo="set PYTHONUTF8=1 in the environment of this process",
            )
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"{root} has a file or folder whose name is not UTF-8",
                expected="names in UTF-8",
                found=repr(os.fsencode(path)),
                done="nothing was written, the data are unchanged",
                todo="rename it",
            ) from error
