"""What the audit says of groups: how many there are, and where they cannot keep their promise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core import shares
from tasks.core.data.files.columns import GROUP
from tasks.core.data.grouping import likely_groups
from tasks.core.data.grouping.units import unit_codes, units
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.stage.handles import RawDataset, TensorCache

FEW = 5  # groups of val or test; fewer are a finding
SHOWN = 3  # names that a sentence has


def find(tensors: TensorCache, raw: RawDataset | None) -> tuple[list[str], list[str], dict[str, Any]]:
    """Problems, one sentence each; remarks; and figures for `audit.json`.

    Args:
        tensors: The images.
        raw: Their source; None where its files cannot be looked at.
    """
    if not tensors.groups:
        rows = read_rows(tensors, ["path", "split", "class_name"])
        return likely_groups.findings(rows, raw), [], {}
    rows = read_rows(tensors, [GROUP, "image_id", "split", "class_name", "path"])
    codes = unit_codes(units(rows[GROUP], rows["image_id"]))
    names = pc.coalesce(rows[GROUP], rows["path"]).to_pylist()
    name_of = dict(zip(codes.tolist()[::-1], names[::-1], strict=True))
    table = pa.table({"group": codes, "split": rows["split"], "class_name": rows["class_name"]})
    problems = [*_on_both_sides(table, name_of), *_few(tensors), *_whole_classes(table, name_of)]
    return problems, [_counts(tensors)], {"groups": dict(zip(SPLITS, tensors.groups, strict=True))}


def _on_both_sides(table: pa.Table, name_of: dict[int, str]) -> list[str]:
    """Groups in test and elsewhere: only a source with splits of its own can have any."""
    of_split = {name: table.filter(pc.equal(table["split"], name))["group"].to_numpy() for name in SPLITS}
    both = np.intersect1d(of_split["test"], np.concatenate([of_split["train"], of_split["val"]]))
    if not len(both):
        return []
    groups = shares.said(len(both), "group has", "groups have")
    return [
        f"{groups} images in test and in train or val, as the splits of the source want it: "
        f"{_shown([name_of[code] for code in both.tolist()])}"
    ]


def _few(tensors: TensorCache) -> list[str]:
    """Splits with so few groups that no number of images makes a verdict certain."""
    counts = dict(zip(SPLITS, tensors.groups, strict=True))
    few = [f"{split} has only {counts[split]} group{'s' * (counts[split] != 1)}" for split in ("test", "val")]
    few = [text for text, split in zip(few, ("test", "val"), strict=True) if counts[split] < FEW]
    if not few:
        return []
    return [f"{' and '.join(few)}: results are as uncertain as so few groups make them, however many images"]


def _whole_classes(table: pa.Table, name_of: dict[int, str]) -> list[str]:
    """Classes whose images are all of one group: nothing tells the class from the group."""
    pairs = table.group_by(["class_name", "group"]).aggregate([]).to_pandas()
    counts = pairs["class_name"].value_counts()
    alone = pairs[pairs["class_name"].isin(counts[counts == 1].index)].sort_values("class_name")
    shown = [f"{row.class_name} ({name_of[row.group]})" for row in alone.itertuples()]
    if not shown:
        return []
    if len(shown) == 1:
        return [f"all images of the class {shown[0]} are of one group: it is in one split only"]
    have = shares.said(len(shown), "class has", "classes have")
    return [f"{have} all their images in one group each: {_shown(shown)}"]


def _counts(tensors: TensorCache) -> str:
    images = (tensors.train, tensors.val, tensors.test)
    return ", ".join(
        f"{split}: {shares.counted(count, 'image')} of {shares.counted(groups, 'group')}"
        for split, count, groups in reversed(list(zip(SPLITS, images, tensors.groups, strict=True)))
    )


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
