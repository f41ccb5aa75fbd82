"""What the normalize stage does with groups and attributes beside the splits: messages, columns and facts."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data.readers.base import GROUP, ImageIndex
from tasks.core.data.tensors import joined_groups
from tasks.core.data.tensors.groups import unit_codes, units
from tasks.core.data.tensors.splits import Splits
from tasks.core.errors import DataError

log = logging.getLogger("plumbline.data")

SHOWN = 3  # groups that a message names


def say_joined(index: ImageIndex) -> None:
    """Say which groups are one since they share an image."""
    joined = joined_groups.join(index).names if index.group is not None else ()
    for names in joined[:SHOWN]:
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        log.warning("groups that share an image are one group: %s%s", ", ".join(names[:SHOWN]), more)
    if len(joined) > SHOWN:
        log.warning("%s more sets of groups share images, too", f"{len(joined) - SHOWN:,}")


def with_joined(index: ImageIndex) -> ImageIndex:
    """The index in which groups that share an image have one name."""
    return index if index.group is None else replace(index, group=joined_groups.join(index).group)


def columns(index: ImageIndex) -> dict[str, pa.ChunkedArray]:
    """The further columns of the table of rows."""
    group = {} if index.group is None else {GROUP: index.group}
    return {**group, **index.attributes}


def facts(index: ImageIndex, splits: Splits) -> dict[str, Any]:
    """Number of groups in each split; nothing where the source has no groups."""
    if index.group is None:
        return {}
    codes = unit_codes(units(index.group, index.image_id))
    return {"groups": [len(np.unique(codes[numbers])) for numbers in splits.numbers.values()]}


def too_few_groups(index: ImageIndex, splits: Splits, dataset: str, empty: Sequence[str]) -> DataError:
    """The error for a split that no group is in."""
    codes = unit_codes(units(index.group, index.image_id))
    numbers = np.concatenate(list(splits.numbers.values()))
    found, first, counts = np.unique(codes[numbers], return_index=True, return_counts=True)
    names = pc.coalesce(index.group, index.path).take(pa.array(numbers[first])).to_pylist()
    largest = np.argsort(-counts, kind="stable")[:SHOWN].tolist()
    shown = ", ".join(f"{names[place]} ({counts[place]:,} images)" for place in largest)
    return DataError(
        f"{dataset} has too few groups: none for {' and '.join(empty)}",
        expected="groups in each of train, val and test; a group is never parted",
        found=f"{len(found):,} group{'s' * (len(found) != 1)}: {shown}{', ...' * (len(found) > SHOWN)}",
        done="nothing was written",
        todo="add groups (ten or more give a test set that says something), choose a finer --group-by, "
        "or put whole groups into folders train, val and test",
    )
