"""Reading an audit's output: the pairs of duplicates and the leaks. `duplicates` finds them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.stage.handles import Audit

NAME = "duplicates.parquet"
SCHEMA = pa.schema(
    {
        "split_a": pa.string(),
        "row_a": pa.int64(),
        "split_b": pa.string(),  # the same split, or a later one of train, val, test
        "row_b": pa.int64(),
        "kind": pa.string(),  # "exact": the same content; "near": a near duplicate; "similar": one scene
        "distance": pa.float64(),  # 0 if exact; else between the descriptors, 1 at the radius
    }
)


def read(audit: Audit) -> pa.Table:
    """All pairs, the closest first; columns as in `SCHEMA`."""
    return pq.read_table(audit.directory / NAME)


def read_leaks(audit: Audit, split: str = "test") -> NDArray[np.bool_]:
    """Which images of a split have a duplicate across the test boundary.

    Test images leak if train or val has a duplicate; train and val images leak if test has one.

    Returns:
        bool (images of the split,); row numbers are those of the split's tensors.
    """
    return read_mask(leaks_path(audit, split))


def leaks_path(audit: Audit, split: str) -> Path:
    """The path of a split's mask of leaks."""
    return audit.directory / leaks_of(split)


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask as `duplicates.write` stores it: bool (images of the split,)."""
    return np.load(path, allow_pickle=False)


def leaks_of(split: str) -> str:
    """The name of the file with a split's mask of leaks."""
    return f"{split}.leaks.npy"
