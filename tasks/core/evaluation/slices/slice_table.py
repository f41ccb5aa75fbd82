"""The table of slices of an evaluation: images, accuracy and recalls with intervals, the worst slices first.

A slice is compared with all other test images, class by class, and the p-values are corrected for looking at
all slices of all columns (`metrics.slices`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.evaluation.slices.values import Attribute
from tasks.core.metrics import cluster, intervals, multiple_tests, slices
from tasks.core.metrics.intervals import Ints
from tasks.core.stage.handles import Evaluation

SLICES = "slices.parquet"
LEAST = 5  # images; smaller slices are not looked at
LEVEL = 0.05  # probability that some slice seems to be worse, although none is
LISTED = 3  # slices that a sentence names
COLUMNS = (
    *("split", "attribute", "value", "class_name", "images", "groups"),
    *("accuracy", "accuracy_low", "accuracy_high", "rest_accuracy", "expected_accuracy"),
    *("p_value", "p_adjusted"),
)


def slice_table(
    correct: NDArray[np.bool_],
    labels: NDArray[np.integer],
    groups: Ints | None,
    attributes: Mapping[str, Attribute],
    classes: Sequence[str],
) -> pd.DataFrame:
    """The slices of the test images.

    Args:
        correct: bool (N,), whether each prediction is correct.
        labels: Integers (N,), 0..C-1.
        groups: int64 (N,), which images belong together; None if each is by itself.
        attributes: By name, with codes of the same N images.
        classes: Names of the C classes.

    Returns:
        `COLUMNS`. For each slice, worst first, a row of all its images (class_name is null) and one for each
        of its classes, where accuracy is the recall of the class. Empty without a slice of `LEAST` images.
    """
    found = [
        (each.name, value, each.codes == code)
        for each in attributes.values()
        for code, value in enumerate(each.values)
    ]
    found = [row for row in found if LEAST <= row[2].sum() < len(labels)]
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    members = np.stack([member for _, _, member in found])
    p_values = slices.p_worse(correct, np.asarray(labels), members, groups)
    adjusted = multiple_tests.holm(p_values)
    rows = []
    for number in np.argsort(p_values, kind="stable"):  # NaN last
        name, value, member = found[number]
        key = {"split": "test", "attribute": name, "value": value}
        tests = {"p_value": p_values[number], "p_adjusted": adjusted[number]}
        expected = slices.expected_accuracy(correct, np.asarray(labels), member)
        whole = {"class_name": None} | _figures(correct, member, ~member, groups)
        rows.append(key | whole | {"expected_accuracy": expected} | tests)
        for label in np.unique(labels[member]):
            of_class = labels == label
            figures = _figures(correct, member & of_class, ~member & of_class, groups)
            rows.append(key | {"class_name": classes[label]} | figures)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _figures(
    correct: NDArray[np.bool_], member: NDArray[np.bool_], rest: NDArray[np.bool_], groups: Ints | None
) -> dict[str, Any]:
    """Images, groups, the share of correct ones with its interval, and that of the rest."""
    inside = correct[member]
    if groups is None:
        hits, trials = np.array(inside.sum()), np.array(len(inside))
        low, high = (float(end) for end in intervals.wilson(hits, trials))
    else:
        low, high = cluster.rate(inside, groups[member])
    return {
        "images": len(inside),
        "groups": None if groups is None else len(np.unique(groups[member])),
        "accuracy": float(inside.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "rest_accuracy": float(correct[rest].mean()) if rest.any() else None,
    }


def write(staging: Path, table: pd.DataFrame) -> None:
    """Write `slices.parquet`, if there is a slice."""
    if len(table):
        whole = table.astype({"groups": "Int64", "rest_accuracy": np.float64, "class_name": "string"})
        whole.to_parquet(staging / SLICES, index=False)


def read_slices(evaluation: Evaluation) -> pd.DataFrame:
    """The result of `slice_table`; empty where the data have no slices."""
    path = evaluation.directory / SLICES
    return pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=list(COLUMNS))


def of_all_classes(table: pd.DataFrame) -> pd.DataFrame:
    """One row per slice, worst first."""
    return table[table["class_name"].isna()]


def worse(table: pd.DataFrame) -> pd.DataFrame:
    """The slices that are worse than the rest beyond chance, one row each, worst first."""
    whole = of_all_classes(table)
    return whole[whole["p_adjusted"] <= LEVEL]


def sentence(table: pd.DataFrame) -> str:
    """Which slices are worse than the rest beyond chance, as text; empty where there are no slices."""
    looked = int(of_all_classes(table)["p_value"].notna().sum())
    if not looked:
        return ""
    slices_looked = shares.counted(looked, "slice")
    found = worse(table)
    if not len(found):
        return f"No slice is worse than the rest beyond chance, corrected for looking at {slices_looked}"
    named = ", ".join(_named(row) for row in found.head(LISTED).to_dict("records"))
    more = f", and {len(found) - LISTED:,} more" if len(found) > LISTED else ""
    return f"Worse than the rest beyond chance, corrected for looking at {slices_looked}: {named}{more}"


def _named(row: Mapping[Any, Any]) -> str:
    """A slice with its figures.

    >>> _named({"attribute": "site", "value": "B", "accuracy": 0.71, "images": 52, "groups": None,
    ...         "expected_accuracy": 0.92})
    'site=B (71.00 %, 52 images; the rest 92.00 % at the same class shares)'
    """
    groups = f" of {shares.counted(row['groups'], 'group')}" if not pd.isna(row["groups"]) else ""
    rest = f"the rest {shares.percent(row['expected_accuracy'])} at the same class shares"
    figures = f"{shares.percent(row['accuracy'])}, {shares.counted(row['images'], 'image')}{groups}"
    return f"{row['attribute']}={row['value']} ({figures}; {rest})"
