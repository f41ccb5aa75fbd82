"""Reading a model class by class: curves and areas against the rest, and rates at the decisions.

Of two classes, one is read: the positive one. Of more classes, each is read against the rest.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.evaluation.decision import DecisionRequest
from tasks.core.metrics import blocks, classification, intervals
from tasks.core.metrics.intervals import Ints
from tasks.core.metrics.thresholds import curves, operating_point
from tasks.core.metrics.thresholds.operating_point import OperatingPoint
from tasks.core.metrics.thresholds.ranking import Ranking
from tasks.core.stage.handles import Evaluation

CURVES = "curves.json"
POINTS = "operating_points.parquet"
POINT = "operating_point.json"
MOST_PROBABLE, AT_POINT = "most probable class", "operating point"
MANY = 50  # of more classes, only some have curves and rates
COLUMN_BYTES = 1 << 24  # of probabilities that are sorted at a time
LOWEST = 10  # of many classes, those with the lowest areas have them, beside the named ones


def read_curves(evaluation: Evaluation) -> dict[str, Any]:
    """`curves.json`, the result of `class_curves`."""
    return dict(json.loads((evaluation.directory / CURVES).read_bytes()))


def read_points(evaluation: Evaluation) -> pd.DataFrame:
    """The rows of `rates_table`."""
    return pd.read_parquet(evaluation.directory / POINTS)


def read_point(evaluation: Evaluation) -> dict[str, Any] | None:
    """`operating_point.json`, the record of a `ChosenPoint`; None if no point was asked for."""
    path = evaluation.directory / POINT
    return dict(json.loads(path.read_bytes())) if path.exists() else None


def class_curves(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
    request: DecisionRequest,
    positive: int | None,
) -> dict[str, Any]:
    """Curves and areas on the test images; JSON values.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
        classes: Names of the C classes.
        request: Its classes always have curves.
        positive: The class that is read alone (of two) or first (of more); None if none is.

    Returns:
        positive (its name or ""), many (whether classes are left out of the curves), and classes: for each
        class label, class_name, images, roc_auc and average_precision (estimates), and for the shown ones
        roc and precision_recall (points; empty where undefined).
    """
    labels_read = [positive] if positive is not None and len(classes) == 2 else list(range(len(classes)))
    many = len(labels_read) > MANY
    rankings = dict(zip(labels_read, _rankings(labels, probabilities, labels_read), strict=True))
    rows = [
        {
            "label": label,
            "class_name": classes[label],
            "images": ranked.positive,
            "roc_auc": curves.roc_auc(ranked).record(),
            "average_precision": curves.average_precision(ranked).record(),
        }
        for label, ranked in rankings.items()
    ]
    shown = _shown(rows, request, positive) if many else labels_read
    for row in rows:
        if row["label"] in shown:
            row |= _curves_of(rankings[row["label"]])
    return {"positive": "" if positive is None else classes[positive], "many": many, "classes": rows}


def _rankings(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], read: list[int]
) -> Iterator[Ranking]:
    """The order of the images by the probability of each class, a few columns in memory at a time."""
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], np.arange(probabilities.shape[1] + 1))
    step = max(1, COLUMN_BYTES // (len(labels) * probabilities.itemsize))
    for first in range(0, len(read), step):
        block = read[first : first + step]
        columns = np.empty((len(block), len(labels)), probabilities.dtype)
        for part in blocks.rows(probabilities):
            columns[:, part] = probabilities[part, block[0] : block[-1] + 1].T
        for label, column in zip(block, columns, strict=True):
            yield Ranking.of(order[starts[label] : starts[label + 1]], column)


def _shown(rows: list[dict[str, Any]], request: DecisionRequest, positive: int | None) -> list[int]:
    """Of many classes, the positive one, the promised ones, and those with the lowest areas."""
    named = {name for _, name, _ in request.promises}
    asked = [row["label"] for row in rows if row["class_name"] in named or row["label"] == positive]
    defined = [row for row in rows if row["roc_auc"]["value"] is not None]
    lowest = sorted(defined, key=lambda row: float(row["roc_auc"]["value"]))[:LOWEST]
    return [*asked, *(row["label"] for row in lowest)]


def _curves_of(ranked: Ranking) -> dict[str, Any]:
    return {
        "roc": curves.roc(ranked).tolist() if ranked.positive and ranked.negative else [],
        "precision_recall": curves.precision_recall(ranked).tolist() if ranked.positive else [],
    }


def class_columns(record: dict[str, Any]) -> pd.DataFrame:
    """The areas as columns of the table `classes`, of the test images: one row per class that is read."""
    rows = [
        {"label": np.int32(row["label"]), "split": "test"}
        | {
            f"{name}{end}": row[name][key]
            for name in ("roc_auc", "average_precision")
            for end, key in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        for row in record["classes"]
    ]
    numbers = pd.DataFrame(rows)
    figures = [name for name in numbers if name not in ("label", "split")]
    return numbers.astype(dict.fromkeys(figures, np.float64))


def rates_table(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    point: OperatingPoint | None,
    record: dict[str, Any],
    request: DecisionRequest,
    most_probable: Ints | None = None,
) -> pd.DataFrame:
    """Sensitivity, specificity and predictive values on the test images.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
        point: The operating point; None if the most probable class is predicted.
        record: The result of `class_curves`: the classes with curves have rows.
        request: The promises, the costs, and the prevalence, which is that of the positive class.
        most_probable: int64 (N,), the most probable classes, if they are known already.

    Returns:
        Columns of the table `operating_points` but run_id and evaluation, one row per class and decision.
    """
    if most_probable is None:
        most_probable = classification.predicted_classes(probabilities)
    decisions = {MOST_PROBABLE: most_probable}
    if point is not None:
        decisions[AT_POINT] = point.decide(probabilities)
    shown = [row for row in record["classes"] if "roc" in row]
    rows = [
        {"split": "test", "decision": name, "label": np.int32(row["label"]), "class_name": row["class_name"]}
        | _asked(name, row, point, request)
        | operating_point.rates(
            labels == row["label"],
            predicted == row["label"],
            request.prevalence if row["class_name"] == record["positive"] else None,
        )
        | _mean_cost(labels, predicted, request)
        for name, predicted in decisions.items()
        for row in shown
    ]
    return pd.DataFrame(rows)


def _asked(
    decision: str, row: dict[str, Any], point: OperatingPoint | None, request: DecisionRequest
) -> dict[str, Any]:
    """The threshold and the promise of a class at the point."""
    at_point = decision == AT_POINT and point is not None
    thresholds = dict(point.thresholds) if at_point and point is not None else {}
    promised = {name: (measure, least) for measure, name, least in request.promises} if at_point else {}
    measure, least = promised.get(row["class_name"], (None, float("nan")))
    return {
        "threshold": thresholds.get(row["label"], float("nan")),
        "promised": measure,
        "least": least,
    }


def _mean_cost(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], request: DecisionRequest
) -> dict[str, float]:
    """The mean cost of all decisions with its interval; nothing without costs.

    It is unknown where a class is predicted that only an earlier champion knows, since it has no cost.
    """
    if not request.costs:
        return {}
    if predicted.max(initial=-1) >= len(request.costs):
        return dict.fromkeys(("mean_cost", "mean_cost_low", "mean_cost_high"), float("nan"))
    costs = operating_point.costs_of(labels, predicted, request.costs)
    low, high = intervals.of_mean(costs, 0.0, float(np.max(request.costs)))
    return {"mean_cost": float(costs.mean()), "mean_cost_low": low, "mean_cost_high": high}


def write(
    staging: Path,
    record: dict[str, Any],
    table: pd.DataFrame,
    chosen: dict[str, Any] | None,
) -> None:
    """Write `curves.json`, `operating_points.parquet`, and if a point was asked `operating_point.json`."""
    (staging / CURVES).write_text(json.dumps(record))
    table.to_parquet(staging / POINTS, index=False)
    if chosen is not None:
        (staging / POINT).write_text(json.dumps(chosen))


def decision_lines(evaluation: Evaluation) -> Iterator[str]:
    """What was asked of the decision and what it gives on the test images, a sentence or two each."""
    chosen = read_point(evaluation)
    if chosen is None:
        return
    yield from chosen["sentences"]
    table = read_points(evaluation)
    at_point = table[table["decision"] == AT_POINT]
    if len(at_point) and "mean_cost" in at_point:
        row = at_point.iloc[0]
        before = table[table["decision"] == MOST_PROBABLE].iloc[0]["mean_cost"]
        yield (
            f"Mean cost on test {row['mean_cost']:.4g} ({row['mean_cost_low']:.4g} to "
            f"{row['mean_cost_high']:.4g}); of the most probable class {before:.4g}."
        )
    for row in at_point[at_point["promised"].notna()].to_dict("records"):
        yield (
            f"On test, {row['class_name']} has recall {_rate(row, 'sensitivity')} and precision "
            f"{_rate(row, 'ppv')}."
        )


def _rate(row: dict[Any, Any], name: str) -> str:
    if row[name] != row[name]:
        return "undefined"
    ends = shares.interval(row[f"{name}_low"], row[f"{name}_high"])
    return f"{shares.percent(row[name])} ({ends})"
