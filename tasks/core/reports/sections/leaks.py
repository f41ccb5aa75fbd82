"""Test images that leak into training: their effect on the accuracy, and pictures of the pairs."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.data.audit import duplicate_table
from tasks.core.data.tensors.cache import Split, open_split, read_rows
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics.comparison import selection_bias
from tasks.core.reports.thumbnails import thumbnail
from tasks.core.stage.handles import Audit, TensorCache

PAIRS = 24  # pairs with pictures in the report


def leak_accuracies(scored: Scored, leaks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Accuracy on all test images, on the images without a leak, and on the leaking images.

    Args:
        scored: The scored test images.
        leaks: bool (N,), whether each test image leaks; see `duplicate_table.read_leaks`.

    Returns:
        One dictionary per group: group, images, accuracy, accuracy_low, accuracy_high (Wilson, 95 %). Empty
        if no image leaks or all images leak.
    """
    if not leaks.any() or leaks.all():
        return []
    correct = scored.predicted == scored.labels
    groups = {
        "all test images": np.ones(len(leaks), bool),
        "without those that leak": ~leaks,
        "only those that leak": leaks,
    }
    together = scored.groups
    return [
        {"group": group} | _accuracy(correct[mask], together[mask] if together is not None else None)
        for group, mask in groups.items()
    ]


def _accuracy(correct: NDArray[np.bool_], groups: NDArray[np.int64] | None) -> dict[str, Any]:
    low, high = selection_bias.joint_range(correct, groups, models=1)
    return {
        "images": len(correct),
        "accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
    }


def leak_pairs(audit: Audit, tensors: TensorCache, count: int = PAIRS) -> list[dict[str, Any]]:
    """Pairs of duplicates with pictures: pairs with different labels first, then pairs with a test image.

    Args:
        audit: The audit that found the pairs.
        tensors: The tensors with the images.
        count: Largest number of pairs.

    Returns:
        One dictionary per pair: pictures (two data URIs), labels (class names), paths, splits, kind and
        distance.
    """
    splits = {split: open_split(tensors, split) for split in ("train", "val", "test")}
    table = duplicate_table.read(audit).to_pandas()
    paths = {split: read_rows(tensors, ["path"], split)["path"].to_pylist() for split in splits}
    for side in "ab":
        table[f"label_{side}"] = _labels(table, side, splits)
    table["across"] = (table["split_a"] != "test") & (table["split_b"] == "test")
    table["differs"] = table["label_a"] != table["label_b"]
    ranked = table.sort_values(
        ["differs", "across", "distance"], ascending=[False, False, True], kind="stable"
    )
    return [
        {
            "pictures": [thumbnail(np.asarray(splits[split].images[row])) for split, row in _sides(pair)],
            "labels": [tensors.classes[pair[f"label_{side}"]] for side in "ab"],
            "paths": [paths[split][row] for split, row in _sides(pair)],
            "splits": [split for split, _ in _sides(pair)],
            "kind": pair["kind"],
            "distance": float(pair["distance"]),
        }
        for pair in ranked.head(count).to_dict("records")
    ]


def _labels(table: pd.DataFrame, side: str, splits: dict[str, Split]) -> list[int]:
    rows = zip(table[f"split_{side}"], table[f"row_{side}"], strict=True)
    return [int(splits[split].labels[row]) for split, row in rows]


def _sides(pair: dict[Any, Any]) -> list[tuple[str, int]]:
    return [(pair[f"split_{side}"], int(pair[f"row_{side}"])) for side in "ab"]
