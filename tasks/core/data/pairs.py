"""The table of duplicate pairs of an audit, and which test images leak."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.cache import SPLITS
from tasks.core.handles import Audit

NAME = "duplicates.parquet"
SCHEMA = pa.schema(
    {
        "split_a": pa.string(),
        "row_a": pa.int64(),
        "split_b": pa.string(),  # the same split, or a later one of train, val, test
        "row_b": pa.int64(),
        "kind": pa.string(),  # "exact": the same content; "near": looks the same
        "distance": pa.float64(),  # 0 for exact, else between the descriptors, larger is less alike
    }
)
LEAKS = "leaks.npy"


def write(directory: Path, pairs: pa.Table, test: int) -> None:
    """Write the pairs and, following from them, which of `test` test images leak."""
    pq.write_table(pairs, directory / NAME)
    np.save(directory / LEAKS, leaking(pairs, test))


def leaking(pairs: pa.Table, test: int) -> NDArray[np.bool_]:
    """Which test images have a duplicate among the images that the model was made with, train and val.

    Returns:
        bool (test,)
    """
    across = (pc.not_equal(pairs["split_a"], "test"), pc.equal(pairs["split_b"], "test"))
    rows = pairs.filter(pc.and_(*across))["row_b"].to_numpy()
    leaks = np.zeros(test, bool)
    leaks[rows] = True
    return leaks


def read_leaks(audit: Audit) -> NDArray[np.bool_]:
    """Which test images leak, as `leaking` gives them; row numbers are those of the test tensors."""
    return np.load(audit.directory / LEAKS, allow_pickle=False)


def read(audit: Audit) -> pa.Table:
    """All pairs, the most alike first; columns as in `SCHEMA`."""
    return pq.read_table(audit.directory / NAME)


def table(
    a: NDArray[np.int64], b: NDArray[np.int64], distances: NDArray[np.float64], kind: str, sizes: list[int]
) -> pa.Table:
    """Pairs of images that are numbered through train, val and test, as a table.

    Args:
        a, b: int64 (pairs,)
        distances: float64 (pairs,)
        kind: "exact" or "near".
        sizes: Number of images in each split.
    """
    first, second = np.minimum(a, b), np.maximum(a, b)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    split_a, split_b = (np.searchsorted(starts, side, side="right") - 1 for side in (first, second))
    names = np.array(SPLITS, dtype=object)
    columns = [
        names[split_a],
        first - starts[split_a],
        names[split_b],
        second - starts[split_b],
        [kind] * len(first),
        distances,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
