"""Which images make up each split, in which order."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data import splits
from tasks.core.data.cache import SPLITS
from tasks.core.data.reader import BATCH, Rows

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Numbers of the source's images by split, in their final order, int64 (n,)."""

    splits: dict[str, Numbers]

    @classmethod
    def of(cls, rows: Rows, val_fraction: float) -> "Layout":
        """Split and order `rows` by their content."""
        split, order = _chosen(rows, val_fraction)
        members = {}
        for number, name in enumerate(SPLITS):
            numbers = np.flatnonzero(split == number)
            columns = {"order": order[numbers]}
            columns |= {"identity": rows.identity.take(numbers), "path": rows.path.take(numbers)}
            keys = [(key, "ascending") for key in columns]
            members[name] = numbers[pc.sort_indices(pa.table(columns), keys).to_numpy()]
        return cls(members)

    def places(self, count: int) -> tuple[NDArray[np.int8], Numbers]:
        """The number in `SPLITS` of each image's split, and its row there; -1 for one that is in none.

        Args:
            count: Images of the source.
        """
        split, row = np.full(count, -1, np.int8), np.full(count, -1, np.int64)
        for number, name in enumerate(SPLITS):
            split[self.splits[name]] = number
            row[self.splits[name]] = np.arange(len(self.splits[name]))
        return split, row

    def without(self, gone: Collection[int]) -> "Layout":
        """The layout when some numbers are left out."""
        left_out = np.fromiter(gone, np.int64, len(gone))
        return Layout({split: numbers[~np.isin(numbers, left_out)] for split, numbers in self.splits.items()})


def _chosen(rows: Rows, val_fraction: float) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """The number in `SPLITS` of each image's split, and what to sort it by there."""
    has = frozenset(np.unique(rows.split).tolist())
    codes = {name: number for number, name in enumerate(SPLITS)}
    split, order = np.empty(len(rows), np.int8), np.empty(len(rows), np.float64)
    for start in range(0, len(rows), BATCH):
        some = slice(start, start + BATCH)
        identities = rows.identity[some].to_pylist()
        said = rows.split[some].tolist()
        split[some] = [
            codes[splits.choose(*pair, has, val_fraction)] for pair in zip(identities, said, strict=True)
        ]
        order[some] = list(map(splits.order, identities))
    return split, order
