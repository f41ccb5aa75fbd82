"""All images of a tensor cache in one order: train, then val, then test.

Images that belong together get one group number: those of one group of the data (a patient, a video), and
duplicates that the audit has found. A model that has seen one of them must not be scored on another.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.audit import duplicate_table
from tasks.core.data.tensors.cache import ROWS, SPLITS, open_split, read_rows
from tasks.core.stage.handles import Audit, TensorCache

GROUP = "group"  # column of `rows.parquet`, where the data have groups; null: the image is alone
LARGEST_SHARE = 0.1  # of all images; near duplicates that chain more than this together are not joined
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class AllImages:
    """All images, in the order train, val, test.

    Args:
        table: Columns image_id, path, split, row, one row an image.
        labels: int32 (N,), 0..classes-1.
        groups: int64 (N,), 0..G-1. Images of one group are never on both sides of a fold.
        grouped: Whether the data have groups of their own, beside duplicates.
        chained: Whether near duplicates were too many to be joined, so that only exact copies are.
    """

    table: pa.Table
    labels: NDArray[np.int32]
    groups: Numbers
    grouped: bool = False
    chained: bool = False

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def group_count(self) -> int:
        """Number of groups; an image that belongs to no other is one."""
        return int(self.groups.max()) + 1

    @property
    def dependent(self) -> bool:
        """Whether any two images belong together."""
        return self.group_count < len(self)


def read(tensors: TensorCache, audit: Audit) -> AllImages:
    """All images of the tensors.

    Args:
        tensors: The images.
        audit: Lists the duplicates.
    """
    labels = np.concatenate([open_split(tensors, split).labels for split in SPLITS])
    named = _group_numbers(tensors)
    pairs, kinds = _pairs(tensors, audit)
    groups, chained = join(named, len(labels), pairs, kinds == "exact")
    return AllImages(_table(tensors), labels, groups, named is not None, chained)


def join(named: Numbers | None, count: int, pairs: Numbers, exact: NDArray[np.bool_]) -> tuple[Numbers, bool]:
    """Number the groups after joining those that share a duplicate.

    Args:
        named: int64 (N,), the group of each image; None where each image is alone.
        count: Number N of images.
        pairs: int64 (P, 2), the images of each pair of duplicates.
        exact: bool (P,), which pairs are copies of one content.

    Returns:
        int64 (N,), 0..G-1, and whether only exact copies were joined, since near duplicates chain more than
        a tenth of all images together.
    """
    start = np.arange(count) if named is None else named
    whole = _components(start, pairs)
    limit = max(LARGEST_SHARE * count, int(np.bincount(start).max()), 2)
    if np.bincount(whole).max() <= limit:
        return whole, False
    return _components(start, pairs[exact]), True


def _components(groups: Numbers, pairs: Numbers) -> Numbers:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = int(groups.max()) + 1
    ends = groups[pairs]
    edges = coo_array((np.ones(len(pairs), np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    _, component = connected_components(edges, directed=False)
    return np.unique(component[groups], return_inverse=True)[1].astype(np.int64)


def _group_numbers(tensors: TensorCache) -> Numbers | None:
    """The group of each image, 0..G-1; None if the data have no groups."""
    if GROUP not in pq.read_schema(tensors.directory / ROWS).names:
        return None
    columns = [read_rows(tensors, [GROUP], split)[GROUP] for split in SPLITS]
    names = pa.chunked_array([chunk for column in columns for chunk in column.chunks]).cast(pa.string())
    known = pc.dictionary_encode(names.combine_chunks())
    codes = np.asarray(pc.fill_null(known.indices, -1), np.int64)
    alone = codes < 0
    codes[alone] = codes.max() + 1 + np.arange(alone.sum())
    return codes


def _pairs(tensors: TensorCache, audit: Audit) -> tuple[Numbers, NDArray[np.str_]]:
    starts = dict(zip(SPLITS, np.cumsum([0, tensors.train, tensors.val]), strict=True))
    table = duplicate_table.read(audit)
    ends = [
        np.array([starts[split] for split in table[f"split_{end}"].to_pylist()], np.int64)
        + table[f"row_{end}"].to_numpy()
        for end in "ab"
    ]
    return np.stack(ends, axis=1), np.array(table["kind"].to_pylist(), np.str_)


def _table(tensors: TensorCache) -> pa.Table:
    columns = ["image_id", "path", "split", "row"]
    return pa.concat_tables([read_rows(tensors, columns, split) for split in SPLITS])
