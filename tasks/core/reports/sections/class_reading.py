"""What a report says of each class against the rest: curves, areas, and rates at the decisions."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tasks.core.evaluation import class_curves
from tasks.core.evaluation.class_curves import AT_POINT, MOST_PROBABLE
from tasks.core.reports import plots
from tasks.core.reports.inputs import Scores
from tasks.core.reports.plots import BAD, FAINT, FIRST, HALF, SECOND

NAMED_CURVES = (
    4  # with a colour of their own: the classes that were asked for, and those with the lowest areas
)
COLOURS = (FIRST, SECOND, BAD, FAINT)


def class_reading(inputs: Scores) -> dict[str, Any]:
    """The values for `class_reading.html.j2`, by name."""
    record = class_curves.read_curves(inputs.evaluation)
    table = class_curves.read_points(inputs.evaluation)
    plain: pd.DataFrame = table.astype(object).where(table.notna(), None)
    rates = plain.to_dict("records")
    asked = {row["class_name"] for row in rates if row["promised"]} | {record["positive"]}
    classes = sorted(record["classes"], key=lambda row: (row["class_name"] not in asked, _area(row)))
    return {
        "positive": record["positive"],
        "many": record["many"],
        "classes": classes if not record["many"] else [row for row in classes if "roc" in row],
        "chosen": class_curves.read_point(inputs.evaluation),
        "plots": _plots(classes, rates),
        "rates": _shown_rates(rates, asked),
        "prevalences": [row for row in rates if row.get("ppv_at_prevalence") is not None],
        "has_point": any(row["decision"] == AT_POINT for row in rates),
        "costs": _costs(rates),
        "matrices": _matrices(rates),
        "lines": list(class_curves.decision_lines(inputs.evaluation)),
    }


def _area(row: Mapping[str, Any]) -> float:
    area = row["roc_auc"]["value"]
    return 2.0 if area is None else float(area)


def _plots(classes: Sequence[Mapping[str, Any]], rates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Both curves of the classes with curves, with a dot where each class's decisions lie."""
    shown = [row for row in classes if row.get("roc")]
    if not shown:
        return []
    return [roc_plot(shown, rates), precision_recall_plot(shown, rates)]


def roc_plot(classes: Sequence[Mapping[str, Any]], rates: Sequence[Mapping[str, Any]]) -> str:
    """SVG of the ROC curves; the first `NAMED_CURVES` classes have a colour.

    Args:
        classes: Rows of `curves.json` with curves.
        rates: Rows of `operating_points`; a ring marks the most probable class, a dot the point.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
        _draw(axes, classes, "roc")
        _mark(axes, rates, lambda row: (1 - row["specificity"], row["sensitivity"]), classes)
        axes.set(title="ROC", xlabel="false positive rate (1 − specificity)", ylabel="sensitivity (recall)")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        lines = axes.get_lines()[1 : 1 + min(len(classes), NAMED_CURVES)]
        axes.legend(lines, [str(line.get_label()) for line in lines], loc="lower right")

    return plots.svg("roc", draw, HALF)


def precision_recall_plot(classes: Sequence[Mapping[str, Any]], rates: Sequence[Mapping[str, Any]]) -> str:
    """SVG of the precision-recall curves; see `roc_plot`."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _draw(axes, classes, "precision_recall")
        _mark(axes, rates, lambda row: (row["sensitivity"], row["ppv"]), classes)
        axes.set(title="precision against recall", xlabel="recall", ylabel="precision (PPV)")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))

    return plots.svg("precision-recall", draw, HALF)


def _draw(axes: Any, classes: Sequence[Mapping[str, Any]], curve: str) -> None:
    for number, row in enumerate(classes):
        first, second = np.array(row[curve]).T
        named = number < NAMED_CURVES
        axes.plot(
            first,
            second,
            color=COLOURS[number] if named else FAINT,
            linewidth=2 if named else 0.8,
            label=row["class_name"].replace("$", r"\$") if named else "",
            drawstyle="steps-pre" if curve == "precision_recall" else "default",
        )


def _mark(axes: Any, rates: Sequence[Mapping[str, Any]], place: Any, classes: Sequence[Any]) -> None:
    colours = {
        row["class_name"]: COLOURS[number] for number, row in enumerate(classes) if number < NAMED_CURVES
    }
    for row in rates:
        colour = colours.get(row["class_name"])
        if colour is None or None in (row["sensitivity"], row["specificity"], row["ppv"]):
            continue
        filled = row["decision"] == AT_POINT
        axes.plot(
            *place(row),
            "o",
            color=colour,
            markersize=8 if filled else 7,
            clip_on=False,
            markerfacecolor=colour if filled else "none",
        )


def _shown_rates(rates: list[dict[Any, Any]], asked: set[str]) -> list[dict[Any, Any]]:
    """The rates of the asked classes for both decisions, and of the others for the decision in use."""
    in_use = AT_POINT if any(row["decision"] == AT_POINT for row in rates) else MOST_PROBABLE
    return [row for row in rates if row["class_name"] in asked or row["decision"] == in_use]


def _costs(rates: Sequence[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    """One row per decision with its mean cost; empty without costs."""
    first = {row["decision"]: row for row in reversed(rates) if row.get("mean_cost") is not None}
    return list(reversed(first.values()))


def _matrices(rates: Sequence[Mapping[Any, Any]]) -> list[Mapping[Any, Any]]:
    """The counts at the point of the classes that have a threshold."""
    return [row for row in rates if row["decision"] == AT_POINT and row["threshold"] is not None]
