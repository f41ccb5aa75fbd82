"""The quarantine table: files and images that are not used, or used with a remark, each with the reason.

A listing has one for what is no image, and a tensor cache has one for its images.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NAME = "quarantine.parquet"
SCHEMA = pa.schema({"path": pa.string(), "reason": pa.string(), "done": pa.string()})
LEFT_OUT = "left out; the file is unchanged"
KEPT = "kept"


def write(directory: Path, rows: Iterable[tuple[str, str, str]]) -> None:
    """Write `quarantine.parquet` with these rows: path, reason, and what was done."""
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    pq.write_table(pa.table([*map(pa.array, columns, SCHEMA.types)], schema=SCHEMA), directory / NAME)


def digest(files: pa.Table) -> str:
    """64 hexadecimal digits that depend on path and reason of every row of a `file_stats.stats_table`."""
    sha256 = hashlib.sha256()
    for path, reason in zip(files["path"].to_pylist(), files["reason"].to_pylist(), strict=True):
        sha256.update(f"{path}\0{reason}\0".encode())
    return sha256.hexdigest()


def counts(reasons: Iterable[str]) -> str:
    """How many files there are of which type, as text; the most frequent type comes first.

    >>> counts(["a text: not an image", "a video (MP4): not an image", "a text: not an image"])
    'a text (2), a video (MP4) (1)'
    """
    types = Counter(reason.partition(":")[0] for reason in reasons)
    return ", ".join(f"{name} ({count:,})" for name, count in types.most_common())
