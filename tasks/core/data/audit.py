"""The audit stage: what a person should know about the images before believing a score.

A directory has `audit.json` (the figures), `duplicates.parquet` and `leaks.npy` (see `pairs`).
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

from tasks.core import stage
from tasks.core.data import pairs
from tasks.core.data.cache import SPLITS, open_split
from tasks.core.handles import Audit, TensorCache
from tasks.core.progress import Progress, silent
from tasks.core.stage import Ingredients
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.audit")

NAME = "audit.json"
UNEVEN = 5  # times more images in the largest class than in the smallest that are worth a word


def ingredients(tensors: TensorCache) -> Ingredients:
    """What an audit follows from."""
    return Ingredients(
        stage="audit",
        inputs={"tensors": tensors.digest},
        parameters={},
        modules=("tasks.core.data.audit",),
        libraries=("numpy", "pyarrow"),
    )


def audit(
    tensors: TensorCache, workspace: Workspace, *, refresh: bool = False, progress: Progress = silent
) -> Audit:
    """Look for duplicates within and across splits and for uneven classes; changes nothing.

    Args:
        tensors: The images.
        workspace: Where the audit is put.
        refresh: Look again even if it is there.
        progress: Told images done.
    """
    made_of = ingredients(tensors)
    directory = workspace.audits / made_of.digest
    manifest = stage.publish(
        directory, made_of, lambda staging: _build(staging, tensors, progress), refresh=refresh
    )
    findings = tuple(manifest["facts"]["findings"])
    return Audit(path=workspace.relative(directory), digest=made_of.digest, findings=findings)


def _build(directory: Path, tensors: TensorCache, progress: Progress) -> dict[str, Any]:
    found = _exact(tensors)
    pairs.write(directory, found, tensors.test)
    figures = {"duplicates": _counts(found), "leaks": int(pairs.leaking(found, tensors.test).sum())}
    figures |= {"classes": _classes(tensors)}
    (directory / NAME).write_text(json.dumps(figures, indent=1))
    return {"findings": _findings(figures, tensors)}


def _exact(tensors: TensorCache) -> pa.Table:
    """Pairs of images of one content: each copy with the first one of its kind."""
    rows = pq.read_table(tensors.directory / "rows.parquet", columns=["split", "row", "id"])
    sizes = [tensors.train, tensors.val, tensors.test]
    starts = dict(zip(SPLITS, np.concatenate([[0], np.cumsum(sizes)[:-1]]), strict=True))
    numbers = rows["row"].to_numpy() + np.array([starts[split] for split in rows["split"].to_pylist()])
    _, first, group = np.unique(rows["id"].to_numpy(), return_index=True, return_inverse=True)
    lowest = np.full(len(first), len(numbers))
    np.minimum.at(lowest, group, numbers)
    originals = lowest[group]
    copies = originals != numbers
    return pairs.table(originals[copies], numbers[copies], np.zeros(int(copies.sum())), "exact", sizes)


def _counts(found: pa.Table) -> dict[str, int]:
    """Number of pairs by splits, such as {"train-test": 3}."""
    counts: dict[str, int] = {}
    for a, b in zip(found["split_a"].to_pylist(), found["split_b"].to_pylist(), strict=True):
        counts[f"{a}-{b}"] = counts.get(f"{a}-{b}", 0) + 1
    return dict(sorted(counts.items()))


def _classes(tensors: TensorCache) -> dict[str, list[int]]:
    """Number of images of each class, by split."""
    labels = {split: open_split(tensors, split).labels for split in SPLITS}
    return {split: _count(values, len(tensors.classes)) for split, values in labels.items()}


def _count(labels: NDArray[np.int32], classes: int) -> list[int]:
    return [int(count) for count in np.bincount(labels, minlength=classes)]


def _findings(figures: Mapping[str, Any], tensors: TensorCache) -> list[str]:
    """What is worth a sentence, the gravest first."""
    findings = []
    if figures["leaks"]:
        findings.append(
            f"{figures['leaks']:,} of {tensors.test:,} test images have a duplicate in train or val"
        )
    within = figures["duplicates"].get("train-train", 0)
    if within:
        findings.append(f"{within:,} duplicates within train")
    return findings + _balance(figures["classes"], tensors)


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
