"""The audit stage: duplicates, leaks between splits, outliers and uneven classes.

A directory has `audit.json` (the figures), `duplicates.parquet` and `{train,val,test}.leaks.npy` (see
`duplicate_table`), and `outliers.parquet`.
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

from tasks.core import shares
from tasks.core.data.audit import duplicates, group_findings
from tasks.core.data.audit.duplicates import Duplicates
from tasks.core.data.audit.image_set import ImageSet
from tasks.core.data.audit.outliers import Brightness, Sizes
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Audit, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import AUDIT
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.audit")

NAME = "audit.json"
OUTLIERS = "outliers.parquet"
UNEVEN = 5  # largest class / smallest class, in images; a larger ratio is a finding


def ingredients(tensors: TensorCache) -> Ingredients:
    """The ingredients of an audit: the tensors' digest."""
    return AUDIT.ingredients({"tensors": tensors.digest}, {})


def audit(
    tensors: TensorCache,
    workspace: Workspace,
    raw: RawDataset | None = None,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Audit:
    """Look for duplicates within and across splits, outliers, uneven classes and groups.

    The tensors are not changed.

    Args:
        tensors: The images.
        workspace: Where the audit is stored.
        raw: The source of the images, for the times of photos; it is the one of the tensors.
        refresh: Audit again even if the output exists.
        progress: Called with images done.
    """
    return AUDIT.output(
        ingredients(tensors),
        workspace,
        lambda staging: _build(staging, tensors, raw, progress),
        refresh=refresh,
    )


def read_figures(audit: Audit) -> dict[str, Any]:
    """The figures of `audit.json`: JSON values."""
    return dict(json.loads((audit.directory / NAME).read_bytes()))


def _build(
    directory: Path, tensors: TensorCache, raw: RawDataset | None, progress: Progress
) -> dict[str, Any]:
    image_set = ImageSet.of(tensors)
    pairs = duplicates.find(tensors, progress)
    leaks = duplicates.leaking(pairs, image_set.starts)
    table = duplicates.write(directory, pairs, image_set.starts)
    figures = {
        "duplicates": _counts(table),
        "leaks": int(leaks["test"].sum()),
        "leaked": {split: int(leaks[split].sum()) for split in ("train", "val")},
        "conflicts": _conflicts(pairs, image_set),
        "classes": _classes(image_set, tensors),
        "outliers": _outliers(directory, image_set, tensors),
    }
    problems, remarks, group_figures = group_findings.find(tensors, raw)
    (directory / NAME).write_text(json.dumps(figures | group_figures, indent=1))
    return {"findings": [*problems, *_findings(figures, tensors), *remarks]}


def _counts(table: pa.Table) -> dict[str, dict[str, int]]:
    """Number of pairs by kind and splits, such as {"exact": {"train-test": 3}, "near": {}}."""
    counts: dict[str, dict[str, int]] = {"exact": {}, "near": {}}
    groups = table.group_by(["kind", "split_a", "split_b"]).aggregate([([], "count_all")]).to_pylist()
    for group in sorted(groups, key=lambda group: (group["split_a"], group["split_b"])):
        counts[group["kind"]][f"{group['split_a']}-{group['split_b']}"] = group["count_all"]
    return counts


def _conflicts(pairs: Duplicates, image_set: ImageSet) -> dict[str, int]:
    """Number of pairs whose labels differ, by kind."""
    differ = image_set.labels[pairs.a] != image_set.labels[pairs.b]
    return {"exact": int((differ & pairs.exact).sum()), "near": int((differ & ~pairs.exact).sum())}


def _classes(image_set: ImageSet, tensors: TensorCache) -> dict[str, list[int]]:
    """Number of images of each class, by split."""
    counts = [np.bincount(split.labels, minlength=len(tensors.classes)) for split in image_set.splits]
    return {name: [int(n) for n in count] for name, count in zip(SPLITS, counts, strict=True)}


def _outliers(directory: Path, image_set: ImageSet, tensors: TensorCache) -> dict[str, int]:
    """Write the table of outliers. Returns the number of them by kind."""
    brightness = Brightness.join([Brightness.of(split.images) for split in image_set.splits])
    rows = read_rows(tensors, ["split", "row", "height", "width"])
    order = np.argsort(image_set.numbers(rows))
    sizes = Sizes(rows["height"].to_numpy()[order], rows["width"].to_numpy()[order])
    kinds = {
        "empty": brightness.empty,
        "brightness": brightness.unusual & ~brightness.empty,
        "size": sizes.unusual,
        "enlarged": sizes.enlarged(*tensors.shape[:2]),
    }
    columns = {
        "brightness": brightness.mean,  # of the luma, 0..255
        "contrast": brightness.deviation,  # its standard deviation
        "height": sizes.height,  # of the original image, in pixels
        "width": sizes.width,
    }
    tables = [
        _outlier_rows(rows.take(order), kind, is_outlier, columns) for kind, is_outlier in kinds.items()
    ]
    pq.write_table(pa.concat_tables(tables), directory / OUTLIERS)
    return {kind: int(is_outlier.sum()) for kind, is_outlier in kinds.items()}


def _outlier_rows(
    rows: pa.Table, kind: str, is_outlier: NDArray[np.bool_], columns: Mapping[str, NDArray[Any]]
) -> pa.Table:
    """The rows of the outliers of one kind, with split, row, kind and the columns."""
    indices = np.flatnonzero(is_outlier)
    location = {
        "split": rows["split"].take(indices),
        "row": rows["row"].take(indices).cast(pa.int64()),
        "kind": pa.array([kind] * len(indices), pa.string()),
    }
    return pa.table(location | {name: values[indices] for name, values in columns.items()})


def _findings(figures: Mapping[str, Any], tensors: TensorCache) -> list[str]:
    """One sentence for each problem, the most serious first."""
    leaks, conflicts, outliers = figures["leaks"], sum(figures["conflicts"].values()), figures["outliers"]
    alike = ": a wrong label, or images that only look alike" if figures["conflicts"].get("near") else ""
    within = sum(kind.get("train-train", 0) for kind in figures["duplicates"].values())
    has = "has" if leaks == 1 else "have"
    of_pairs, of_images = ("pair of duplicates", "pairs of duplicates"), ("image", "images")
    findings = {
        f"{leaks:,} of {shares.counted(tensors.test, 'test image')} {has} a duplicate in train or val": leaks,
        f"{shares.said(conflicts, *of_pairs)} with different labels{alike}": conflicts,
        f"{shares.said(within, *of_pairs)} within train": within,
        f"{shares.said(outliers['empty'], *of_images)} of a single colour": outliers["empty"],
        f"{shares.said(outliers['brightness'], *of_images)} far darker or brighter than the rest": outliers[
            "brightness"
        ],
        f"{shares.said(outliers['size'], *of_images)} far from the rest in size or shape": outliers["size"],
        f"{shares.said(outliers['enlarged'], *of_images)} had to be enlarged": outliers["enlarged"],
    }
    return [sentence for sentence, count in findings.items() if count] + _balance(figures["classes"], tensors)


def _balance(classes: Mapping[str, list[int]], tensors: TensorCache) -> list[str]:
    findings = []
    for split in SPLITS:
        missing = [name for name, count in zip(tensors.classes, classes[split], strict=True) if not count]
        if missing:
            findings.append(f"no {split} image of {', '.join(missing)}")
    low, high = min(classes["train"]), max(classes["train"])
    if low and high > UNEVEN * low:
        smallest, largest = (tensors.classes[classes["train"].index(count)] for count in (low, high))
        findings.append(
            f"uneven classes in train: {shares.counted(high, 'image')} of {largest}, {low:,} of {smallest}"
        )
    return findings
