"""The listing of a raw dataset: which files it consists of, each with its SHA-256."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.data.files import file_stats

NAME = "files.parquet"
BATCH = 4096  # lines that are Python objects at the same time
SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # relative to the dataset's root, with forward slashes
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("split", pa.string()),  # train, val, test; empty where the source has no splits
        ("class_name", pa.string()),  # empty for archives and parquet files
    ]
)


class ListedFile(NamedTuple):
    """One line of a listing; fields as in `SCHEMA`."""

    path: str
    bytes: int
    sha256: str
    split: str = ""
    class_name: str = ""


def table(files: Iterable[ListedFile]) -> pa.Table:
    """The files as a table of `SCHEMA`, sorted by path."""
    columns = list(zip(*sorted(files), strict=True)) or [()] * len(SCHEMA)
    return pa.table([*map(pa.array, columns, SCHEMA.types)], schema=SCHEMA)


def write(directory: Path, files: pa.Table) -> None:
    """Write a table of `SCHEMA`, sorted by path."""
    pq.write_table(
        files, directory / NAME, use_dictionary=["split", "class_name"], row_group_size=file_stats.ROW_GROUP
    )


def read(directory: Path) -> pa.Table:
    """The files of a raw dataset, sorted by path: a table of `SCHEMA`."""
    with pq.ParquetFile(directory / NAME, pre_buffer=False) as file:
        return file.read(use_threads=False).cast(SCHEMA).combine_chunks()


def lines(files: pa.Table) -> Iterator[ListedFile]:
    """The files one by one; few at a time are Python objects."""
    for batch in files.to_batches(BATCH):
        yield from map(ListedFile, *(column.to_pylist() for column in batch.columns))


def digest(files: pa.Table) -> str:
    """64 hexadecimal digits that change with any field of any file but its size."""
    total = hashlib.sha256()
    for batch in files.select(["path", "sha256", "split", "class_name"]).to_batches(BATCH):
        columns = (column.to_pylist() for column in batch.columns)
        # No field holds a zero byte.
        total.update("".join(map("{}\0{}\0{}\0{}\0".format, *columns)).encode())
    return total.hexdigest()


def differences(old: pa.Table, new: pa.Table) -> list[str]:
    """What happened to a dataset's files between two listings, each as a short phrase.

    >>> before, after = [File("1.png", 9, "x")], [File("1.png", 9, "y"), File("2.png", 9, "z")]
    >>> differences(table(before), table(after))
    ['1 file added', '1 file edited']
    """
    before, after = ({file.path: file for file in lines(files)} for files in (old, new))
    counts = {
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "edited": sum(before[path] != after[path] for path in before.keys() & after.keys()),
    }
    return [f"{count:,} file{'s' * (count != 1)} {what}" for what, count in counts.items() if count]
