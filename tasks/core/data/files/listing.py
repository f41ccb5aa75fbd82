"""The listing of a raw dataset: the files that it consists of, each with its SHA-256."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.data.files import file_stats

NAME = "files.parquet"
BATCH = 4096  # rows held as Python objects at a time
SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # relative to the dataset's root, with forward slashes
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("split", pa.string()),  # train, val, test; empty where the source has no splits
        ("class_name", pa.string()),  # empty for archives and parquet files
    ]
)  # then further columns of a CSV, as text


class ListedFile(NamedTuple):
    """One row of a listing; fields as in `SCHEMA`."""

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
        table = file.read(use_threads=False)
    further = [pa.field(name, pa.string()) for name in further_columns(table)]
    return table.cast(pa.schema([*SCHEMA, *further])).combine_chunks()


def further_columns(files: pa.Table) -> list[str]:
    """The names of the columns beyond `SCHEMA`, in their order: the group and attributes of a CSV."""
    return [name for name in files.column_names if name not in SCHEMA.names]


def read_paths(directory: Path) -> pa.ChunkedArray:
    """The paths of the files of a raw dataset, sorted."""
    with pq.ParquetFile(directory / NAME, pre_buffer=False) as file:
        return file.read(["path"], use_threads=False)["path"]


def iter_files(files: pa.Table) -> Iterator[ListedFile]:
    """The files one by one; at most `BATCH` are Python objects at a time."""
    for batch in files.select(SCHEMA.names).to_batches(BATCH):
        yield from map(ListedFile, *(column.to_pylist() for column in batch.columns))


def digest(files: pa.Table) -> str:
    """64 hexadecimal digits that depend on every field of every file except its size."""
    sha256 = hashlib.sha256()
    for batch in files.select(["path", "sha256", "split", "class_name"]).to_batches(BATCH):
        # No field contains a zero byte.
        lines = pc.binary_join_element_wise(*batch.columns, "", "\0")
        sha256.update(pc.binary_join(pa.ListArray.from_arrays([0, len(lines)], lines), "")[0].as_buffer())
    for name in further_columns(files):
        sha256.update(json.dumps([name, files[name].to_pylist()]).encode())
    return sha256.hexdigest()


def differences(old: pa.Table, new: pa.Table) -> list[str]:
    """The changes between two listings of a dataset, each as a short phrase.

    >>> before = [ListedFile("1.png", 9, "x")]
    >>> after = [ListedFile("1.png", 9, "y"), ListedFile("2.png", 9, "z")]
    >>> differences(table(before), table(after))
    ['1 file added', '1 file edited']
    """
    before, after = (dict(zip(files["path"].to_pylist(), _rows(files), strict=True)) for files in (old, new))
    counts = {
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "edited": sum(before[path] != after[path] for path in before.keys() & after.keys()),
    }
    return [f"{count:,} file{'s' * (count != 1)} {change}" for change, count in counts.items() if count]


def _rows(files: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in files.columns), strict=True)
