"""What the normalize stage says of groups and writes of them, beside the splits."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.data.files.columns import GROUP
from tasks.core.data.grouping import joined_groups
from tasks.core.data.grouping.units import unit_codes, units
from tasks.core.data.readers.base import ImageIndex
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


def facts(index: ImageIndex, numbers: Mapping[str, NDArray[np.int64]]) -> dict[str, Any]:
    """Number of groups in each split; nothing where the source has no groups.

    Args:
        index: The images, their groups joined.
        numbers: The numbers of the images of each split.
    """
    if index.group is None:
        return {}
    codes = unit_codes(units(index.group, index.image_id))
    return {"groups": [len(np.unique(codes[of_split])) for of_split in numbers.values()]}


def too_few_groups(
    index: ImageIndex, used: NDArray[np.int64], dataset: str, empty: Sequence[str]
) -> DataError:
    """The error for splits that no group is in.

    Args:
        index: The images, their groups joined.
        used: The numbers of the images of all splits.
        dataset: Name of the dataset.
        empty: The splits.
    """
    codes = unit_codes(units(index.group, index.image_id))
    found, first, counts = np.unique(codes[used], return_index=True, return_counts=True)
    names = pc.coalesce(index.group, index.path).take(pa.array(used[first])).to_pylist()
    largest = np.argsort(-counts, kind="stable")[:SHOWN].tolist()
    shown = ", ".join(f"{names[place]} ({shares.counted(counts[place], 'image')})" for place in largest)
    return DataError(
        f"{dataset} has too few groups: none for {' and '.join(empty)}",
        expected="groups in each of train, val and test; a group is never parted",
        found=f"{len(found):,} group{'s' * (len(found) != 1)}: {shown}{', ...' * (len(found) > SHOWN)}",
        done="nothing was written",
        todo="add groups (ten or more give a test set that says something), choose a finer --group-by, "
        "or put whole groups into folders train, val and test",
    )
