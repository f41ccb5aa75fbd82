"""Image files that the machine did not let read when they were predicted: no permission, a lost disk."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

NOT_READABLE = "not readable: "  # begins the problem of such a file


def readable_now(parts: Iterable[Path]) -> list[str]:
    """The paths of such files that can be read by now; their size and time are what they were.

    Args:
        parts: Parquet files of predictions, with the columns path and problem.
    """
    is_refused = pc.starts_with(pc.field("problem"), NOT_READABLE)
    tables = (pq.read_table(part, columns=["path"], filters=is_refused) for part in parts)
    return [path for table in tables for path in table["path"].to_pylist() if _is_readable(path)]


def _is_readable(path: str) -> bool:
    try:
        Path(path).read_bytes()
    except OSError:
        return False
    return True
