"""Tensors with the same images in other splits: those of a fold, or those of a model of all images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import ROWS, SPLITS, open_split
from tasks.core.data.tensors.npy_writer import RowFile
from tasks.core.stage.handles import TensorCache
from tasks.core.stage.stages import RESPLIT
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace

BLOCK = 1024  # images copied at a time
Positions = Mapping[str, NDArray[np.int64]]


def resplit(tensors: TensorCache, positions: Positions, workspace: Workspace) -> TensorCache:
    """Write tensors of the same images in other splits, or reuse them.

    Args:
        tensors: The images.
        positions: For each of "train", "val" and "test" the images of the new split: int64 (n,), ascending
            positions in the order of `images.AllImages`. An image may be in several.
        workspace: Where they are stored.
    """
    counts: dict[str, Any] = {split: len(positions[split]) for split in SPLITS}
    digests = {split: hashing.digest_of(positions[split].tolist()) for split in SPLITS}
    ingredients = RESPLIT.ingredients({"tensors": tensors.digest}, digests)
    return RESPLIT.output(
        ingredients,
        workspace,
        lambda staging: _write(staging, tensors, positions),
        dataset=tensors.dataset,
        classes=tensors.classes,
        shape=tensors.shape,
        fit=tensors.fit,
        grey_bits=tensors.grey_bits,
        quarantined=0,
        **counts,
    )


def _write(staging: Path, tensors: TensorCache, positions: Positions) -> dict[str, Any]:
    sources = [open_split(tensors, split) for split in SPLITS]
    labels = np.concatenate([source.labels for source in sources])
    starts = np.cumsum([0, *(len(source.labels) for source in sources)])
    rows = pq.read_table(tensors.directory / ROWS)
    numbers = dict(zip(SPLITS, starts[:-1], strict=True))
    place = np.array([numbers[split] for split in rows["split"].to_pylist()]) + rows["row"].to_numpy()
    in_order = rows.take(np.argsort(place))
    tables = []
    for split in SPLITS:
        chosen = positions[split]
        file = RowFile(staging / f"{split}.images.npy", len(chosen), tensors.shape)
        _copy(file, sources, starts, chosen)
        np.save(staging / f"{split}.labels.npy", labels[chosen])
        tables.append(_renamed(in_order.take(chosen), split))
    pq.write_table(pa.concat_tables(tables), staging / ROWS)
    return {"groups": [_group_count(table) for table in tables]} if tensors.groups else {}


def _group_count(rows: pa.Table) -> int:
    """Number of groups; an image without a group is one of its own."""
    groups = rows["group"]
    return len(groups.drop_null().unique()) + groups.null_count


def _copy(file: RowFile, sources: list[Any], starts: NDArray[np.int64], chosen: NDArray[np.int64]) -> None:
    """Copy rows in blocks, so that little memory is needed."""
    written = 0
    for number, source in enumerate(sources):
        inside = chosen[(chosen >= starts[number]) & (chosen < starts[number + 1])] - starts[number]
        for first in range(0, len(inside), BLOCK):
            block = np.ascontiguousarray(source.images[inside[first : first + BLOCK]])
            file.write(written, block)
            written += len(block)
    file.close()


def _renamed(rows: pa.Table, split: str) -> pa.Table:
    columns = {"split": pa.array([split] * len(rows)), "row": pa.array(np.arange(len(rows)))}
    for name, values in columns.items():
        index = rows.schema.get_field_index(name)
        rows = rows.set_column(index, name, values.cast(rows.schema.field(name).type))
    return rows
