"""The table of duplicate pairs of an audit, and which test images leak."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.cache import SPLITS
from tasks.core.data.duplicates import Duplicates
from tasks.core.handles import Audit

NAME = "duplicates.parquet"
SCHEMA = pa.schema(
    {
        "split_a": pa.string(),
        "row_a": pa.int64(),
        "split_b": pa.string(),  # the same split, or a later one of train, val, test
        "row_b": pa.int64(),
        "kind": pa.string(),  # "exact": the same content; "near": looks the same
        "distance": pa.float64(),  # 0 if exact; else between descriptors, 1 is the limit
    }
)


def write(directory: Path, found: Duplicates, starts: NDArray[np.int64]) -> pa.Table:
    """Write the pairs, the most alike first, and which images of each split stand on both sides of the test.

    Args:
        starts: The number of each split's first image, and that of all images.
    """
    pairs = table(found, starts).sort_by([("distance", "ascending")])
    pq.write_table(pairs, directory / NAME)
    for split, leaks in leaking(found, starts).items():
        np.save(directory / _leaks(split), leaks)
    return pairs


def leaking(found: Duplicates, starts: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """By split, which images have a duplicate on the other side: test images in train or val, others in test.

    Returns:
        bool (images of the split,) each
    """
    is_test = np.arange(starts[-1]) >= starts[-2]
    leaks = found.matched(is_test, ~is_test) | found.matched(~is_test, is_test)
    return dict(zip(SPLITS, np.split(leaks, starts[1:-1]), strict=True))


def read_leaks(audit: Audit, split: str = "test") -> NDArray[np.bool_]:
    """Which images leak, as `leaking` gives them; row numbers are those of the split's tensors."""
    return np.load(audit.directory / _leaks(split), allow_pickle=False)


def _leaks(split: str) -> str:
    return f"{split}.leaks.npy"


def read(audit: Audit) -> pa.Table:
    """All pairs, the most alike first; columns as in `SCHEMA`."""
    return pq.read_table(audit.directory / NAME)


def table(found: Duplicates, starts: NDArray[np.int64]) -> pa.Table:
    """Pairs of images that are numbered through train, val and test, as a table.

    Args:
        starts: The number of each split's first image, and that of all images.
    """
    split_a, split_b = (np.searchsorted(starts, side, side="right") - 1 for side in (found.a, found.b))
    names = np.array(SPLITS, dtype=object)
    columns = [
        names[split_a],
        found.a - starts[split_a],
        names[split_b],
        found.b - starts[split_b],
        np.where(found.exact, "exact", "near"),
        found.distance,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
