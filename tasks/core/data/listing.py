"""The listing of a raw dataset: which files it consists of, each with its SHA-256."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NAME = "files.parquet"
SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # relative to the dataset's root, with forward slashes
        ("bytes", pa.int64()),
        ("sha256", pa.string()),
        ("split", pa.string()),  # train, val, test; empty where the source has no splits
        ("class_name", pa.string()),  # empty for archives
    ]
)


@dataclass(frozen=True, order=True)
class File:
    """One line of a listing; fields as in `SCHEMA`."""

    path: str
    bytes: int
    sha256: str
    split: str = ""
    class_name: str = ""


def write(directory: Path, files: list[File]) -> None:
    rows = [vars(file) for file in sorted(files)]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), directory / NAME)


def read(directory: Path) -> list[File]:
    """The files of a raw dataset, sorted by path."""
    return [File(**row) for row in pq.read_table(directory / NAME).to_pylist()]
