"""Test images that leak into training: what they do to the accuracy, and what the pairs look like."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.data.audit import duplicate_table
from tasks.core.data.tensors.cache import Split, open_split
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import intervals
from tasks.core.reports.thumbnails import thumbnail
from tasks.core.stage.handles import Audit, TensorCache

PAIRS = 24


def leak_accuracies(scored: Scored, leaks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Accuracy on all test images, on those that don't leak, and on those that do.

    Args:
        scored: The test images.
        leaks: bool (N,); see `duplicate_table.read_leaks`.

    Returns:
        For each: words, images, accuracy, accuracy_low, accuracy_high (Wilson, 95 %); empty if none leaks
    """
    if not leaks.any() or leaks.all():
        return []
    right = scored.predicted == scored.labels
    groups = {
        "all test images": np.ones(len(leaks), bool),
        "without those that leak": ~leaks,
        "only those that leak": leaks,
    }
    return [{"words": words} | _accuracy(right[group]) for words, group in groups.items()]


def _accuracy(right: NDArray[np.bool_]) -> dict[str, Any]:
    low, high = intervals.wilson(right.sum(), np.asarray(len(right)))
    return {
        "images": len(right),
        "accuracy": float(right.mean()),
        "accuracy_low": float(low),
        "accuracy_high": float(high),
    }


def leak_pairs(audit: Audit, tensors: TensorCache, count: int = PAIRS) -> list[dict[str, Any]]:
    """Pairs of duplicates worth a look: those of different labels first, then those with test.

    Returns:
        For each: pictures (two data URIs), labels (class names), splits, kind, distance
    """
    splits = {split: open_split(tensors, split) for split in ("train", "val", "test")}
    table = duplicate_table.read(audit).to_pandas()
    for side in "ab":
        table[f"label_{side}"] = _labels(table, side, splits)
    table["across"] = (table["split_a"] != "test") & (table["split_b"] == "test")
    table["differs"] = table["label_a"] != table["label_b"]
    worth = table.sort_values(
        ["differs", "across", "distance"], ascending=[False, False, True], kind="stable"
    )
    return [
        {
            "pictures": [thumbnail(np.asarray(splits[split].images[row])) for split, row in _sides(pair)],
            "labels": [tensors.classes[pair[f"label_{side}"]] for side in "ab"],
            "splits": [split for split, _ in _sides(pair)],
            "kind": pair["kind"],
            "distance": float(pair["distance"]),
        }
        for pair in worth.head(count).to_dict("records")
    ]


def _labels(table: pd.DataFrame, side: str, splits: dict[str, Split]) -> list[int]:
    places = zip(table[f"split_{side}"], table[f"row_{side}"], strict=True)
    return [int(splits[split].labels[row]) for split, row in places]


def _sides(pair: dict[Any, Any]) -> list[tuple[str, int]]:
    return [(pair[f"split_{side}"], int(pair[f"row_{side}"])) for side in "ab"]
