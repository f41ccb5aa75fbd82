"""Reading an audit: its pairs of duplicates, and which images leak. (Finding them is `duplicates`.)"""

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
        "kind": pa.string(),  # "exact": the same content; "near": looks the same
        "distance": pa.float64(),  # 0 if exact; else between descriptors, 1 is the limit
    }
)


def read(audit: Audit) -> pa.Table:
    """All pairs, the most alike first; columns as in `SCHEMA`."""
    return pq.read_table(audit.directory / NAME)


def read_leaks(audit: Audit, split: str = "test") -> NDArray[np.bool_]:
    """Which images have a duplicate on the other side: test images in train or val, others in test.

    Returns:
        bool (images of the split,); row numbers are those of the split's tensors
    """
    return read_mask(leaks_path(audit, split))


def leaks_path(audit: Audit, split: str) -> Path:
    return audit.directory / leaks_of(split)


def read_mask(path: Path) -> NDArray[np.bool_]:
    return np.load(path, allow_pickle=False)


def leaks_of(split: str) -> str:
    """The name of the file that says which images of a split leak."""
    return f"{split}.leaks.npy"
