"""What an evaluation says beside the version's own run: its test accuracy, and the promises of its point.

The interval of the difference of two independent accuracies follows from their own intervals, which count
groups as groups: G. Y. Zou and A. Donner, Statistics in Medicine 27, 2008 (the method of variance estimates
recovery; for Wilson intervals it is R. G. Newcombe's, Statistics in Medicine 17, 1998).
"""

from collections.abc import Mapping
from math import sqrt
from typing import Any

from tasks.core import shares
from tasks.core.evaluation import class_curves
from tasks.core.metrics.classification import Estimate
from tasks.core.stage.handles import Evaluation, ModelVersion

MEASURES = {"recall": "sensitivity", "precision": "ppv"}


def own_accuracy(version: ModelVersion) -> dict[str, Any] | None:
    """The accuracy on the test images of the version's run, with `images`; None if it is not recorded."""
    metrics: Mapping[str, Any] = version.manifest["facts"].get("metrics") or {}
    accuracy = metrics.get("accuracy")
    return {**accuracy, "images": metrics.get("images")} if accuracy else None


def difference(here: Mapping[str, Any], there: Mapping[str, Any]) -> Estimate:
    """The accuracy here minus that there, of independent images.

    Args:
        here, there: Records of estimates: value, low, high, 0..1.

    >>> newcombe = difference({"value": 56 / 70, "low": 0.6918, "high": 0.8770},
    ...                       {"value": 48 / 80, "low": 0.4905, "high": 0.7004})
    >>> round(newcombe.value, 2), round(newcombe.low, 4), round(newcombe.high, 4)
    (0.2, 0.0524, 0.3339)
    """
    value = here["value"] - there["value"]
    below = sqrt((here["value"] - here["low"]) ** 2 + (there["high"] - there["value"]) ** 2)
    above = sqrt((here["high"] - here["value"]) ** 2 + (there["value"] - there["low"]) ** 2)
    return Estimate(value, value - below, value + above, "wilson")


def difference_sentence(here: Mapping[str, Any], version: ModelVersion, own_test: int) -> str:
    """How the accuracy differs from that of the version's run, in words; empty if it is not recorded.

    Args:
        here: The record of the accuracy on the evaluated images.
        version: The version.
        own_test: How many of the evaluated images are test images of its run: then no interval is given.
    """
    there = own_accuracy(version)
    if there is None:
        return ""
    interval = shares.interval(there["low"], there["high"])
    images = shares.counted(there["images"], "test image")
    own = f"in its own run {shares.percent(there['value'])} ({interval}) of {images}"
    if own_test:
        return f"{own}, of which some or all are evaluated here, too"
    found = difference(here, there)
    points = f"{found.value * 100:+.2f} points ({found.low * 100:+.2f} to {found.high * 100:+.2f})"
    word = "lower" if found.high < 0 else "higher" if found.low > 0 else "not proven different"
    return f"{own}: here {word}, {points}"


def promise_sentences(evaluation: Evaluation) -> list[str]:
    """Whether each promise of the operating point holds on the evaluated images."""
    table = class_curves.read_points(evaluation)
    rows = table[(table["decision"] == class_curves.AT_POINT) & table["promised"].notna()]
    return [_promise(row) for row in rows.to_dict("records")]


def _promise(row: Mapping[Any, Any]) -> str:
    name = MEASURES[row["promised"]]
    value, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    promised = f"{row['class_name']}: {row['promised']} of at least {row['least'] * 100:g} % was promised"
    if value != value:
        return f"{promised}; no image here can tell"
    found = f"here it is {shares.percent(value)} ({shares.interval(low, high)})"
    if high < row["least"]:
        return f"{promised}, and it is broken: {found}"
    if low >= row["least"]:
        return f"{promised}, and it is kept: {found}"
    return f"{promised}; {found}, which neither proves nor refutes it"
