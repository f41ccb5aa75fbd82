"""Reading the tensor cache.

Writing it is in `normalize`, apart from this module: a change of the writing code is then no ingredient of
the stages that only read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.stage.handles import TensorCache

SPLITS = ("train", "val", "test")
ROWS = "rows.parquet"  # the image of each row; columns as in `normalize.ROW_SCHEMA`
BATCH = 1 << 14  # rows that are in memory beside those of a split: 5 MB where all of 60,000 take 13


@dataclass(frozen=True)
class Split:
    """One split, memory-mapped.

    Args:
        images: uint8 (N, H, W, C), 0..255, rows in a fixed order that is random with respect to class.
        labels: int32 (N,), 0..classes-1.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]


class RowView:
    """Some rows of a memory-mapped array, read when they are indexed.

    It is used like the array of these rows.

    Args:
        array: The array.
        rows: int64 (n,); which of its rows, ascending.
    """

    def __init__(self, array: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        self.array, self.rows = array, rows
        self.shape, self.dtype = (len(rows), *array.shape[1:]), array.dtype
        self.base, self.strides, self.offset = array.base, array.strides, getattr(array, "offset", 0)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        return self.array[self.rows[key]]


def open_split(cache: TensorCache, split: str, *, without: NDArray[np.bool_] | None = None) -> Split:
    """Map one of "train", "val", "test" into memory. Nothing is read before it is used.

    Args:
        cache: The tensors.
        split: Which split.
        without: bool (N,); rows to leave out. The others are renumbered, in their order.
    """
    data = _open(cache, split)
    if without is None or not without.any():
        return data
    rows = np.flatnonzero(~without)
    images = cast(NDArray[np.uint8], RowView(data.images, rows))
    return Split(images, data.labels[rows])


def _open(cache: TensorCache, split: str) -> Split:
    return Split(
        images=np.load(cache.directory / f"{split}.images.npy", mmap_mode="r", allow_pickle=False),
        labels=np.load(cache.directory / f"{split}.labels.npy", mmap_mode="r", allow_pickle=False),
    )


def read_rows(cache: TensorCache, columns: Sequence[str], split: str | None = None) -> pa.Table:
    """The table of which image each row of the tensors is.

    Args:
        cache: The tensors.
        columns: Names from `normalize.ROW_SCHEMA`.
        split: Only this split's rows, in the order of the tensors; None for all, in the order of the file.
    """
    # By `pq.read_table` and `sort_by`, 60,000 rows take 50 ms and 50 MB instead of 6 ms and 12 MB.
    with pq.ParquetFile(cache.directory / ROWS, pre_buffer=False) as file:
        if split is None:
            return file.read(list(columns), use_threads=False)
        names = list(dict.fromkeys([*columns, "split", "row"]))
        batches = file.iter_batches(BATCH, columns=names, use_threads=False)
        found = [batch.filter(pc.equal(batch["split"], split)) for batch in batches]
        schema = pa.schema([file.schema_arrow.field(name) for name in names])
    table = pa.Table.from_batches(found, schema)
    return table.take(pc.sort_indices(table["row"])).select(list(columns))
