"""The table of duplicate pairs of an audit, and which test images leak."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
        "distance": pa.float64(),  # 0 for exact, else between the descriptors; larger is less alike, 1 the limit
    }
)
LEAKS = "leaks.npy"


def write(directory: Path, pairs: pa.Table, test: int) -> None:
    """Write the pairs, the most alike first, and, following from them, which of `test` test images leak."""
    pq.write_table(pairs.sort_by([("distance", "ascending")]), directory / NAME)
    np.save(directory / LEAKS, leaking(pairs, test))


def leaking(pairs: pa.Table, test: int) -> NDArray[np.bool_]:
    """Which test images have a duplicate among the images that the model was made with, train and val.

    Returns:
        bool (test,)
    """
    leaks = np.zeros(test, bool)
    across = (pc.not_equal(pairs["split_a"], "test"), pc.equal(pairs["split_b"], "test"))
    leaks[pairs.filter(pc.and_(*across))["row_b"].to_numpy()] = True
    copies = pairs.filter(pc.and_(pc.equal(pairs["split_a"], "test"), pc.equal(pairs["kind"], "exact")))
    leaks[copies["row_b"].to_numpy()] |= leaks[copies["row_a"].to_numpy()]
    return leaks


def leaked(audit: Audit, split: str) -> NDArray[np.int64]:
    """Rows of train or val of which a test image is a duplicate: int64, ascending.

    Args:
        split: "train" or "val".
    """
    pairs = read(audit)
    across = pc.and_(pc.equal(pairs["split_a"], split), pc.equal(pairs["split_b"], "test"))
    return np.unique(pairs.filter(across)["row_a"].to_numpy())


def read_leaks(audit: Audit) -> NDArray[np.bool_]:
    """Which test images leak, as `leaking` gives them; row numbers are those of the test tensors."""
    return np.load(audit.directory / LEAKS, allow_pickle=False)


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
