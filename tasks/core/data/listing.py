"""The listing of a raw dataset: which files it consists of, each with its SHA-256."""

import hashlib
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

NAME = "files.parquet"
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
    columns = {name: [getattr(file, name) for file in files] for name in SCHEMA.names}
    pq.write_table(pa.table(columns, SCHEMA), directory / NAME)


def read(directory: Path) -> list[File]:
    """The files of a raw dataset, sorted by path."""
    columns = pq.read_table(directory / NAME).to_pydict()
    return list(map(File, *(columns[name] for name in SCHEMA.names)))


def digest(files: list[File]) -> str:
    """64 hexadecimal digits that change with any field of any file."""
    total = hashlib.sha256()
    for file in sorted(files):
        fields = (file.path, file.sha256, file.split, file.class_name)
        total.update("".join(f"{field}\0" for field in fields).encode())  # no field holds a zero byte
    return total.hexdigest()
