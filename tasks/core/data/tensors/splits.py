"""Which split an image belongs to, and its place there: both follow from its content and a salt.

A growing folder never moves an old image to another split, and exact copies always fall together.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.readers.base import BATCH, ImageIndex
from tasks.core.data.tensors.cache import SPLITS

TEST_FRACTION = 0.2  # of a source without test images


def fraction(salt: str, identity: str) -> float:
    """A number in [0, 1), uniform over images, fixed for an image.

    Args:
        salt: Makes independent numbers out of one identity.
        identity: The SHA-256 of the image's content.
    """
    digest = hashlib.sha256(f"{salt}:{identity}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48  # exact in a float


def choose_split(identity: str, split: str, has: frozenset[str], val_fraction: float) -> str:
    """The split of an image.

    Args:
        identity: The SHA-256 of its content.
        split: What its source says; "" if the source has no splits.
        has: The splits that the source has.
        val_fraction: Share of the train images that is held out where the source has no val.
    """
    if split in ("val", "test"):
        return split
    if "test" not in has and fraction("plumbline test", identity) < TEST_FRACTION:
        return "test"
    if "val" not in has and fraction("plumbline val", identity) < val_fraction:
        return "val"
    return "train"


def order_key(identity: str) -> float:
    """Sort by this, then by identity and path, for a fixed order that is random with respect to class."""
    return fraction("plumbline order", identity)


Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Numbers of the source's images by split, in their final order, int64 (n,)."""

    splits: dict[str, Numbers]

    @classmethod
    def of(cls, rows: ImageIndex, val_fraction: float) -> "Splits":
        """Split and order `rows` by their content."""
        split, order = _assign(rows, val_fraction)
        members = {}
        for number, name in enumerate(SPLITS):
            numbers = np.flatnonzero(split == number)
            columns = {"order": order[numbers]}
            columns |= {"identity": rows.image_id.take(numbers), "path": rows.path.take(numbers)}
            keys = [(key, "ascending") for key in columns]
            members[name] = numbers[pc.sort_indices(pa.table(columns), keys).to_numpy()]
        return cls(members)

    def split_and_row(self, count: int) -> tuple[NDArray[np.int8], Numbers]:
        """The number in `SPLITS` of each image's split, and its row there; -1 for one that is in none.

        Args:
            count: Images of the source.
        """
        split, row = np.full(count, -1, np.int8), np.full(count, -1, np.int64)
        for number, name in enumerate(SPLITS):
            split[self.splits[name]] = number
            row[self.splits[name]] = np.arange(len(self.splits[name]))
        return split, row

    def without(self, gone: Collection[int]) -> "Splits":
        """The layout when some numbers are left out."""
        left_out = np.fromiter(gone, np.int64, len(gone))
        return Splits({split: numbers[~np.isin(numbers, left_out)] for split, numbers in self.splits.items()})


def _assign(rows: ImageIndex, val_fraction: float) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """The number in `SPLITS` of each image's split, and what to sort it by there."""
    has = frozenset(np.unique(rows.split).tolist())
    codes = {name: number for number, name in enumerate(SPLITS)}
    split, order = np.empty(len(rows), np.int8), np.empty(len(rows), np.float64)
    for start in range(0, len(rows), BATCH):
        some = slice(start, start + BATCH)
        identities = rows.image_id[some].to_pylist()
        said = rows.split[some].tolist()
        split[some] = [
            codes[choose_split(*pair, has, val_fraction)] for pair in zip(identities, said, strict=True)
        ]
        order[some] = list(map(order_key, identities))
    return split, order
