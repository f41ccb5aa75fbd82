"""Reading groups and other columns of the data from the tensors.

A group is a set of images that are alike for a known reason: of one patient, video, burst or site. All its
images are in one split and in one fold. `rows.parquet` has a column `group` only where the data have groups,
and a column `attribute_<name>` for each further column that was kept.
"""

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.files.columns import ATTRIBUTE, GROUP
from tasks.core.data.grouping.units import unit_codes, units
from tasks.core.data.tensors.cache import ROWS, read_rows
from tasks.core.stage.handles import TensorCache


def read_groups(tensors: TensorCache, split: str) -> NDArray[np.int64] | None:
    """A number for the group of each image of a split.

    An image that is its own group has a number of its own. Exact copies of one image share theirs.

    Args:
        tensors: The tensors.
        split: "train", "val" or "test".

    Returns:
        int64 (N,), 0..groups-1, in the row order of the tensors, numbered in the order in which groups first
        occur; None where the data have no groups.
    """
    if not tensors.groups:
        return None
    rows = read_rows(tensors, [GROUP, "image_id"], split)
    return unit_codes(units(rows[GROUP], rows["image_id"]))


def read_attributes(tensors: TensorCache, split: str) -> dict[str, list[str | None]]:
    """The values of each further column of the data, as text, in the row order of a split's tensors.

    Returns:
        By name of the column in the source, such as "site". Empty where there is none.
    """
    if not (tensors.directory / ROWS).exists():  # a fold has no tables
        return {}
    columns = [name for name in pq.read_schema(tensors.directory / ROWS).names if name.startswith(ATTRIBUTE)]
    if not columns:
        return {}
    rows = read_rows(tensors, columns, split)
    return {name.removeprefix(ATTRIBUTE): rows[name].to_pylist() for name in columns}
