"""Reading the tensor cache. (Writing it is `tensors`; what only reads is not touched by its changes.)"""

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
ROWS = "rows.parquet"  # which image each row is; `normalize.ROW_SCHEMA` has the columns


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
    """Some rows of a memory-mapped array, taken when they are asked for: used like the array of these rows.

    Args:
        whole: The array.
        rows: int64 (n,); which of its rows, ascending.
    """

    def __init__(self, whole: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        self.whole, self.rows = whole, rows
        self.shape, self.dtype = (len(rows), *whole.shape[1:]), whole.dtype
        self.base, self.strides, self.offset = whole.base, whole.strides, getattr(whole, "offset", 0)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        return self.whole[self.rows[key]]


def open_split(cache: TensorCache, split: str, *, without: NDArray[np.bool_] | None = None) -> Split:
    """Map one of "train", "val", "test" into memory; nothing is read before it is used.

    Args:
        without: bool (N,); rows to leave out. The others are numbered anew, in their order.
    """
    opened = _open(cache, split)
    if without is None or not without.any():
        return opened
    rows = np.flatnonzero(~without)
    images = cast(NDArray[np.uint8], RowView(opened.images, rows))
    return Split(images, opened.labels[rows])


def _open(cache: TensorCache, split: str) -> Split:
    return Split(
        images=np.load(cache.directory / f"{split}.images.npy", mmap_mode="r", allow_pickle=False),
        labels=np.load(cache.directory / f"{split}.labels.npy", mmap_mode="r", allow_pickle=False),
    )


def read_rows(cache: TensorCache, columns: Sequence[str], split: str | None = None) -> pa.Table:
    """Which image each row of the tensors is.

    Args:
        cache: The tensors.
        columns: Names from `normalize.ROW_SCHEMA`.
        split: Only this split's rows, in the order of the tensors; None for all, in the order of the file.
    """
    if split is None:
        return pq.read_table(cache.directory / ROWS, columns=list(columns))
    wanted = pq.read_table(cache.directory / ROWS, columns=list({*columns, "split", "row"}))
    return wanted.filter(pc.field("split") == split).sort_by("row").select(list(columns))
