"""Test images that leak into training: their effect on the accuracy, and pictures of the pairs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.data.audit import duplicate_table
from tasks.core.data.tensors.cache import Split, open_split
from tasks.core.evaluation import evaluate, scores
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import classification, cluster, intervals
from tasks.core.metrics.comparison import baseline
from tasks.core.registry import registry
from tasks.core.reports.inputs import ReportInputs
from tasks.core.stage.handles import Audit, TensorCache, TrainedModel
from tasks.core.workspace import Workspace

PAIRS = 24  # pairs with pictures in the report
MOST = 0.5  # share of the test images that leak: above it, the accuracy is theirs


def are_dropped(trained: TrainedModel) -> bool:
    """Whether the model was trained without the duplicates of test images."""
    return bool(trained.manifest.get("ingredients", {}).get("parameters", {}).get("drop_leaks"))


def unproven(inputs: ReportInputs, scored: Scored | None = None) -> str:
    """What is not known since test images leak; empty if most do not, and these prove the model.

    It is empty, too, where all test images together prove nothing, which other lines say. Where the
    duplicates were left out of the training, it names a champion that was trained with them.

    Args:
        inputs: The run.
        scored: Its test images; None to read them, if they are needed.
    """
    leaks = duplicate_table.read_leaks(inputs.whole_audit)
    answer = baseline.answer(scores.read_metrics(inputs.evaluation)["test"])
    if not leaks.any() or answer != baseline.BETTER:
        return ""
    if are_dropped(inputs.trained):
        return _favoured_champion(inputs, int(leaks.sum()))
    scored = scored or evaluate.scored_of(inputs.evaluation, inputs.tensors, "test")
    unknown = _unknown(scored, leaks, inputs.tensors)
    if not unknown:
        return ""
    count, of_all = int(leaks.sum()), shares.counted(len(leaks), "test image")
    return (
        f"{count:,} of {of_all} {'has' if count == 1 else 'have'} a duplicate in train or val{unknown}. "
        "--drop-leaks trains without the duplicates"
    )


def _unknown(scored: Scored, leaks: NDArray[np.bool_], tensors: TensorCache) -> str:
    """What the test images do not tell; empty if most do not leak and these prove the model."""
    unseen = ": how good the model is on images that it has not seen is not known"
    if leaks.all():
        return unseen
    if not _proves(scored, ~leaks, tensors):
        return f", and the others alone do not prove the model better than no model{unseen}"
    if leaks.mean() <= MOST:
        return ""
    others = leak_accuracies(scored, leaks)[1]
    return (
        f", so that the accuracy is mostly that of images like those of the training; that of the "
        f"{shares.counted(others['images'], 'other')} is {shares.percent(others['accuracy'])} "
        f"(95 % interval {shares.interval(others['accuracy_low'], others['accuracy_high'])})"
    )


def _favoured_champion(inputs: ReportInputs, leaking: int) -> str:
    """A champion that was trained with duplicates of test images and stays; empty if there is none."""
    champion, evidence = inputs.decision.champion, inputs.decision.evidence
    if inputs.decision.promoted or not evidence.get("paired") or champion == inputs.decision.version:
        return ""
    reigning = registry.resolve(inputs.tensors.dataset, champion, Workspace.active())
    if reigning.manifest["facts"].get("parameters", {}).get("drop_leaks"):
        return ""
    return (
        f"champion {champion} was trained with duplicates of {leaking:,} of these test images, which favours "
        "it in the comparison: --promote always replaces it"
    )


def _proves(scored: Scored, mask: NDArray[np.bool_], tensors: TensorCache) -> bool:
    """Whether some of the test images prove the model better than answers without a model."""
    groups = None if scored.groups is None else np.unique(scored.groups[mask], return_inverse=True)[1]
    losses = classification.log_losses(scored.labels, scored.probabilities)
    counts = np.bincount(open_split(tensors, "train").labels, minlength=scored.probabilities.shape[1])
    labels, best = scored.labels[mask], scored.most_probable[mask]
    compared = baseline.compare_answers(labels, best, losses[mask], counts, tensors.classes, groups)
    return bool(compared["answer"] == baseline.BETTER)


def leak_accuracies(scored: Scored, leaks: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Accuracy on all test images, on the images without a leak, and on the leaking images.

    Args:
        scored: The scored test images.
        leaks: bool (N,), whether each test image leaks; see `duplicate_table.read_leaks`.

    Returns:
        One dictionary per group: group, images, accuracy, accuracy_low, accuracy_high (95 %, by the method of
        the model's accuracy). Empty if no image leaks or all images leak.
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
    if groups is not None:
        low, high = cluster.rate(correct, groups)
    else:
        low, high = map(float, intervals.clopper_pearson(np.asarray(correct.sum()), np.asarray(len(correct))))
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
    from tasks.core.reports.thumbnails import thumbnail  # imported here: Matplotlib takes 0.3 s

    splits = {split: open_split(tensors, split) for split in ("train", "val", "test")}
    table = duplicate_table.read(audit).to_pandas()
    for side in "ab":
        table[f"label_{side}"] = _labels(table, side, splits)
    table["across"] = (table["split_a"] != "test") & (table["split_b"] == "test")
    table["differs"] = table["label_a"] != table["label_b"]
    ranked = table.sort_values(
        ["differs", "across", "distance"], ascending=[False, False, True], kind="stable"
    )
    shown = ranked.head(count).to_dict("records")
    paths = _paths(shown, tensors)
    return [
        {
            "pictures": [thumbnail(np.asarray(splits[split].images[row])) for split, row in _sides(pair)],
            "labels": [tensors.classes[pair[f"label_{side}"]] for side in "ab"],
            "paths": [paths[side] for side in _sides(pair)],
            "splits": [split for split, _ in _sides(pair)],
            "kind": pair["kind"],
            "distance": float(pair["distance"]),
        }
        for pair in shown
    ]


def _paths(pairs: Sequence[dict[Any, Any]], tensors: TensorCache) -> dict[tuple[str, int], str]:
    """The path of both images of each pair, by split and row."""
    from tasks.core.reports.thumbnails import paths_of  # imported here: Matplotlib takes 0.3 s

    rows: dict[str, list[int]] = {}
    for split, row in (side for pair in pairs for side in _sides(pair)):
        rows.setdefault(split, []).append(row)
    return {
        (split, row): path
        for split, numbers in rows.items()
        for row, path in zip(numbers, paths_of(tensors, split, numbers), strict=True)
    }


def _labels(table: pd.DataFrame, side: str, splits: dict[str, Split]) -> NDArray[np.integer]:
    labels = np.empty(len(table), np.int32)
    for split, data in splits.items():
        is_here = (table[f"split_{side}"] == split).to_numpy()
        labels[is_here] = data.labels[table[f"row_{side}"].to_numpy()[is_here]]
    return labels


def _sides(pair: dict[Any, Any]) -> list[tuple[str, int]]:
    return [(pair[f"split_{side}"], int(pair[f"row_{side}"])) for side in "ab"]
