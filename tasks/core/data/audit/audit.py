"""The audit stage: what a person should know about the images before believing a score.

A directory has `audit.json` (the figures), `duplicates.parquet` and `{train,val,test}.leaks.npy` (see
`pairs`), and `outliers.parquet`.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.audit import duplicates
from tasks.core.data.audit.duplicates import Duplicates
from tasks.core.data.audit.image_set import ImageSet
from tasks.core.data.audit.outliers import Brightness, Sizes
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Audit, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import AUDIT
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.audit")

NAME = "audit.json"
OUTLIERS = "outliers.parquet"
UNEVEN = 5  # times more images in the largest class than in the smallest that are worth a word


def ingredients(tensors: TensorCache) -> Ingredients:
    """What an audit follows from."""
    return AUDIT.ingredients({"tensors": tensors.digest}, {})


def audit(
    tensors: TensorCache, workspace: Workspace, *, refresh: bool = False, progress: Progress = ignore_progress
) -> Audit:
    """Look for duplicates within and across splits, odd images and uneven classes; changes nothing.

    Args:
        tensors: The images.
        workspace: Where the audit is put.
        refresh: Look again even if it is there.
        progress: Told images done.
    """
    return AUDIT.output(
        ingredients(tensors), workspace, lambda staging: _build(staging, tensors, progress), refresh=refresh
    )


def read(audit: Audit) -> dict[str, Any]:
    """The figures; JSON values."""
    return dict(json.loads((audit.directory / NAME).read_bytes()))


def _build(directory: Path, tensors: TensorCache, progress: Progress) -> dict[str, Any]:
    gallery = ImageSet.of(tensors)
    found = duplicates.find(tensors, progress)
    leaks = duplicates.leaking(found, gallery.starts)
    table = duplicates.write(directory, found, gallery.starts)
    figures = {
        "duplicates": _counts(table),
        "leaks": int(leaks["test"].sum()),
        "leaked": {split: int(leaks[split].sum()) for split in ("train", "val")},
        "conflicts": _conflicts(found, gallery),
        "classes": _classes(gallery, tensors),
        "outliers": _outliers(directory, gallery, tensors),
    }
    (directory / NAME).write_text(json.dumps(figures, indent=1))
    return {"findings": _findings(figures, tensors)}


def _counts(table: pa.Table) -> dict[str, dict[str, int]]:
    """Number of pairs by kind and splits, such as {"exact": {"train-test": 3}, "near": {}}."""
    counts: dict[str, dict[str, int]] = {"exact": {}, "near": {}}
    groups = table.group_by(["kind", "split_a", "split_b"]).aggregate([([], "count_all")]).to_pylist()
    for group in sorted(groups, key=lambda group: (group["split_a"], group["split_b"])):
        counts[group["kind"]][f"{group['split_a']}-{group['split_b']}"] = group["count_all"]
    return counts


def _conflicts(found: Duplicates, gallery: ImageSet) -> dict[str, int]:
    """Number of pairs whose labels differ, by kind."""
    differ = gallery.labels[found.a] != gallery.labels[found.b]
    return {"exact": int((differ & found.exact).sum()), "near": int((differ & ~found.exact).sum())}


def _classes(gallery: ImageSet, tensors: TensorCache) -> dict[str, list[int]]:
    """Number of images of each class, by split."""
    counts = [np.bincount(split.labels, minlength=len(tensors.classes)) for split in gallery.splits]
    return {name: [int(n) for n in count] for name, count in zip(SPLITS, counts, strict=True)}


def _outliers(directory: Path, gallery: ImageSet, tensors: TensorCache) -> dict[str, int]:
    """Write the table of images that stand out; number of them by kind."""
    light = Brightness.join([Brightness.of(split.images) for split in gallery.splits])
    rows = read_rows(tensors, ["split", "row", "height", "width"])
    order = np.argsort(gallery.numbers(rows))
    sizes = Sizes(rows["height"].to_numpy()[order], rows["width"].to_numpy()[order])
    kinds = {
        "empty": light.empty,
        "brightness": light.unusual & ~light.empty,
        "size": sizes.unusual,
        "enlarged": sizes.enlarged(*tensors.shape[:2]),
    }
    columns = {
        "brightness": light.mean,  # of the luma, 0..255
        "contrast": light.deviation,  # its standard deviation
        "height": sizes.height,  # pixels of the image as it came
        "width": sizes.width,
    }
    tables = [_odd(rows.take(order), kind, odd, columns) for kind, odd in kinds.items()]
    pq.write_table(pa.concat_tables(tables), directory / OUTLIERS)
    return {kind: int(odd.sum()) for kind, odd in kinds.items()}


def _odd(rows: pa.Table, kind: str, odd: NDArray[np.bool_], columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    """The rows of images of one kind, with split, row, kind and the columns."""
    numbers = np.flatnonzero(odd)
    told = {
        "split": rows["split"].take(numbers),
        "row": rows["row"].take(numbers).cast(pa.int64()),
        "kind": pa.array([kind] * len(numbers), pa.string()),
    }
    return pa.table(told | {name: values[numbers] for name, values in columns.items()})


def _findings(figures: Mapping[str, Any], tensors: TensorCache) -> list[str]:
    """What is worth a sentence, the gravest first."""
    leaks, conflicts, odd = figures["leaks"], sum(figures["conflicts"].values()), figures["outliers"]
    within = sum(kind.get("train-train", 0) for kind in figures["duplicates"].values())
    findings = {
        f"{leaks:,} of {tensors.test:,} test images have a duplicate in train or val": leaks,
        f"{conflicts:,} pairs of duplicates have different labels": conflicts,
        f"{within:,} pairs of duplicates within train": within,
        f"{odd['empty']:,} images show a single colour": odd["empty"],
        f"{odd['brightness']:,} images are far darker or brighter than the rest": odd["brightness"],
        f"{odd['size']:,} images are of quite another size or shape than the rest": odd["size"],
        f"{odd['enlarged']:,} images had to be enlarged": odd["enlarged"],
    }
    return [words for words, count in findings.items() if count] + _balance(figures["classes"], tensors)


def _balance(classes: Mapping[str, list[int]], tensors: TensorCache) -> list[str]:
    findings = []
    for split in SPLITS:
        absent = [name for name, count in zip(tensors.classes, classes[split], strict=True) if not count]
        if absent:
            findings.append(f"no {split} image of {', '.join(absent)}")
    low, high = min(classes["train"]), max(classes["train"])
    if low and high > UNEVEN * low:
        smallest, largest = (tensors.classes[classes["train"].index(count)] for count in (low, high))
        findings.append(f"uneven classes in train: {high:,} images of {largest}, {low:,} of {smallest}")
    return findings
