"""Which split an image belongs to, and its row there. Both depend on the image's content and a salt only.

Only in a small class do they depend on the other images of the class, too (`split_floor`). When a folder
grows, no old image moves from train to val or test, with the exception that is described there. Exact copies
always belong to the same split.

A group is in one split. It depends on the group's name in place of the image's content, and the row within
the split on the content as ever. Groups that share an image are one (`grouping.joined_groups`). They are in
train if one of them would be alone, else in val if one would be: so a group that is joined to others later
moves towards train only.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.block_decoder import text_hashes
from tasks.core.data.grouping import joined_groups
from tasks.core.data.grouping.joined_groups import JoinedGroups
from tasks.core.data.grouping.units import unit_codes
from tasks.core.data.readers.base import BATCH, ImageIndex
from tasks.core.data.tensors import split_floor
from tasks.core.data.tensors.cache import SPLITS

TEST_FRACTION = 0.2  # share of test images of a source without a test split
TEST_SALT, VAL_SALT = "plumbline test", "plumbline val"
ORDER_SALT = "plumbline order"  # a fixed order that is random as to class; image id and path break ties


def fraction(salt: str, image_id: str) -> float:
    """A number in [0, 1), uniform over images and fixed for an image.

    Args:
        salt: Different salts give independent numbers for one image.
        image_id: The SHA-256 of the image's content.
    """
    return float(fractions(salt, [image_id])[0])


def fractions(salt: str, image_ids: Sequence[str]) -> NDArray[np.float64]:
    """`fraction` of each, float64 (n,): the first 48 bits of a SHA-256, which float64 has exactly."""
    digests = text_hashes.sha256_of_each(f"{salt}:", image_ids)
    return (np.frombuffer(digests, ">u8")[::4] >> 16) / 2.0**48


def choose_splits(
    image_ids: Sequence[str], split: NDArray[np.str_], source_splits: frozenset[str], val_fraction: float
) -> NDArray[np.int8]:
    """The splits of images whose class is not a small one, int8 (n,), as indices into `SPLITS`.

    Args:
        image_ids: The SHA-256 of the content of each, or what names its group.
        split: str (n,); the split of each in the source; "" if the source has no splits.
        source_splits: The splits that the source has.
        val_fraction: Share of the train images that become validation images if the source has no val split.
    """
    chosen = np.full(len(image_ids), split_floor.TRAIN, np.int8)
    if "val" not in source_splits and val_fraction:
        chosen[fractions(VAL_SALT, image_ids) < val_fraction] = split_floor.VAL
    if "test" not in source_splits:
        chosen[fractions(TEST_SALT, image_ids) < TEST_FRACTION] = split_floor.TEST
    chosen[split == "val"] = split_floor.VAL
    chosen[split == "test"] = split_floor.TEST
    return chosen


Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Splits:
    """Numbers of the source's images by split, in their final order, int64 (n,) each."""

    numbers: dict[str, Numbers]

    @classmethod
    def of(cls, index: ImageIndex, val_fraction: float) -> "Splits":
        """Assign the images to splits and order them by their content."""
        split, order = _assign(index, val_fraction)
        members = {}
        for number, name in enumerate(SPLITS):
            numbers = np.flatnonzero(split == number)
            columns = {"order": order[numbers]}
            columns |= {"identity": index.image_id.take(numbers), "path": index.path.take(numbers)}
            keys = [(key, "ascending") for key in columns]
            members[name] = numbers[pc.sort_indices(pa.table(columns), keys).to_numpy()]
        return cls(members)

    def split_and_row(self, count: int) -> tuple[NDArray[np.int8], Numbers]:
        """Each image's split, as an index into `SPLITS` (int8), and its row there (int64).

        Both are -1 for an image in no split.

        Args:
            count: Number of images of the source.
        """
        split, row = np.full(count, -1, np.int8), np.full(count, -1, np.int64)
        for number, name in enumerate(SPLITS):
            split[self.numbers[name]] = number
            row[self.numbers[name]] = np.arange(len(self.numbers[name]))
        return split, row

    def without(self, left_out: Collection[int]) -> "Splits":
        """The splits without the images that have these numbers."""
        numbers_left_out = np.fromiter(left_out, np.int64, len(left_out))
        return Splits(
            {split: numbers[~np.isin(numbers, numbers_left_out)] for split, numbers in self.numbers.items()}
        )


def _assign(index: ImageIndex, val_fraction: float) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Each image's split, as an index into `SPLITS`, and its sort key."""
    source_splits = frozenset(np.unique(index.split).tolist())
    split, order = np.empty(len(index), np.int8), np.empty(len(index), np.float64)
    for start in range(0, len(index), BATCH):
        batch = slice(start, start + BATCH)
        image_ids = index.image_id[batch].to_pylist()
        split[batch] = choose_splits(image_ids, index.split[batch], source_splits, val_fraction)
        order[batch] = fractions(ORDER_SALT, image_ids)
    joined = None
    if index.group is not None:
        joined = joined_groups.join(index)
        split = _split_of_groups(split, index, joined, source_splits, val_fraction)
    floored = _floored(source_splits, val_fraction)
    if floored:
        unit = joined.unit if joined else None
        split = split_floor.raise_to_floor(split, index, floored, partial(fraction, TEST_SALT), unit)
    return split, order


def _split_of_groups(
    split: NDArray[np.int8],
    index: ImageIndex,
    joined: JoinedGroups,
    source_splits: frozenset[str],
    val_fraction: float,
) -> NDArray[np.int8]:
    """The splits by the groups' names; an image stays in the val or test split of the source."""
    own = pc.dictionary_encode(joined.own.combine_chunks())
    names = own.dictionary.to_pylist()
    of_name = choose_splits(names, np.full(len(names), ""), source_splits, val_fraction)
    of_image = of_name[own.indices.to_numpy()]
    codes = unit_codes(joined.unit)
    of_unit = np.full(codes.max(initial=-1) + 1, len(SPLITS), np.int8)
    np.minimum.at(of_unit, codes, of_image)  # train, val, test: the first of them that one would be in
    return np.where(np.isin(index.split, ("val", "test")), split, of_unit[codes]).astype(np.int8)


def _floored(source_splits: frozenset[str], val_fraction: float) -> tuple[int, ...]:
    """The splits that each class has an image of: those that the source does not have itself."""
    val = (split_floor.VAL,) if val_fraction and "val" not in source_splits else ()
    return val if "test" in source_splits else (*val, split_floor.TEST)
