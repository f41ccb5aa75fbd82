"""Which images belong together: the group of each image, from the column `group` of the rows table."""

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import ROWS, read_rows
from tasks.core.stage.handles import TensorCache

COLUMN = "group"


def read_groups(tensors: TensorCache, split: str) -> NDArray[np.int64] | None:
    """The group of each image of a split, int64 (N,), 0..G-1 in row order; None if there are no groups."""
    if COLUMN not in pq.read_schema(tensors.directory / ROWS).names:
        return None
    names = read_rows(tensors, [COLUMN], split)[COLUMN].to_numpy()
    return np.unique(names.astype(str), return_inverse=True)[1].astype(np.int64)
