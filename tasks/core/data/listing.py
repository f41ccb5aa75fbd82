"""The listing of a raw dataset: which files it consists of, each with its SHA-256."""

import hashlib
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

NAME = "files.parquet"
BATCH = 4096  # lines that are lists and objects at the same time while a listing is read
SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # relative to the dataset's root, with forward slashes
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("split", pa.string()),  # train, val, test; empty where the source has no splits
        ("class_name", pa.string()),  # empty for archives and parquet files
    ]
)


class File(NamedTuple):
    """One line of a listing; fields as in `SCHEMA`."""

    path: str
    bytes: int
    sha256: str
    split: str = ""
    class_name: str = ""


def write(directory: Path, files: list[File]) -> None:
    files = sorted(files)
    columns = [pa.array((file[place] for file in files), kind) for place, kind in enumerate(SCHEMA.types)]
    pq.write_table(pa.table(columns, schema=SCHEMA), directory / NAME, use_dictionary=["split", "class_name"])


def read(directory: Path) -> list[File]:
    """The files of a raw dataset, sorted by path."""
    files: list[File] = []
    with pq.ParquetFile(directory / NAME) as file:
        for batch in file.iter_batches(BATCH):
            path, size, sha256, split, class_name = (column.to_pylist() for column in batch.columns)
            names = map(sys.intern, split), map(sys.intern, class_name)  # one string for all that are alike
            files += map(File, path, size, sha256, *names)
    return files


def total_bytes(directory: Path) -> int:
    """Bytes of all files of a raw dataset."""
    return sum(pq.read_table(directory / NAME, columns=["bytes"])["bytes"].to_pylist())


def digest(files: list[File]) -> str:
    """64 hexadecimal digits that change with any field of any file."""
    total = hashlib.sha256()
    for file in sorted(files):
        fields = (file.path, file.sha256, file.split, file.class_name)
        total.update("".join(f"{field}\0" for field in fields).encode())  # no field holds a zero byte
    return total.hexdigest()


def differences(old: list[File], new: list[File]) -> list[str]:
    """What happened to a dataset's files between two listings, each as a short phrase.

    >>> differences([File("a/1.png", 9, "x")], [File("a/1.png", 9, "y"), File("a/2.png", 9, "z")])
    ['1 file added', '1 file edited']
    """
    before, after = ({file.path: file for file in files} for files in (old, new))
    counts = {
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "edited": sum(before[path] != after[path] for path in before.keys() & after.keys()),
    }
    return [f"{count:,} file{'s' * (count != 1)} {what}" for what, count in counts.items() if count]
