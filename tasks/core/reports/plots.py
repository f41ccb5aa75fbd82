"""Plots for the report as inline SVG that uses the colours of the page, light or dark.

The plots are drawn with the placeholder colours below. In the SVG they are replaced by CSS variables, so that
the page defines the colours. Text stays text: it uses the page's font, and it can be searched and read aloud.
"""

import base64
import html
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tasks.core import markup
from tasks.core.markup import MATPLOTLIB

HALF = (4.4, 3.0)  # inches; half the width of a desktop page, the full width of a phone
INK, FAINT, GRID, FIRST, SECOND, BAD = "#010101", "#020202", "#030303", "#040404", "#050505", "#060606"
VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--line",
    FIRST: "--first",
    SECOND: "--second",
    BAD: "--bad",
}
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "plumbline",  # the same figure gives the same bytes
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": INK,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "legend.frameon": False,
    "legend.labelcolor": FAINT,
    "lines.linewidth": 2,
}


def learning_curve(epochs: pd.DataFrame, metric: str) -> str:
    """SVG of a metric over the epochs, for train and val.

    Args:
        epochs: Columns of the table `epochs`; a curve without values is left out.
        metric: "loss" or "accuracy".
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        _curve(axes, epochs, f"train_{metric}", "train", FIRST)
        _curve(axes, epochs, f"val_{metric}", "val", SECOND)
        axes.set(xlabel="epoch", title=f"{metric} over the epochs")
        axes.set_ylabel("loss, nats" if metric == "loss" else f"{metric}, 0..1")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()

    return svg(f"learning-{metric}", draw, HALF, f"{metric} of train and val over the epochs")


def difference(value: float, low: float, high: float, margin: float = 0.0) -> str:
    """SVG of a difference in accuracy with its interval, in percentage points, relative to zero.

    Args:
        value: The difference, -1..1.
        low: Lower end of its interval, -1..1.
        high: Upper end of its interval, -1..1.
        margin: The largest loss that counts as not worse, 0..1; drawn if above 0.
    """
    limit = 115 * max(abs(low), abs(high), margin, 0.001)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        colour = FIRST if low > 0 else BAD if high < 0 else FAINT
        axes.axvline(0, color=INK, linewidth=1)
        if margin:
            axes.axvline(-100 * margin, color=FAINT, linewidth=1, linestyle=":")
        axes.plot(
            [100 * low, 100 * high], [0, 0], color=colour, linewidth=6, solid_capstyle="round", alpha=0.45
        )
        axes.plot([100 * value], [0], "o", color=colour, markersize=11)
        axes.set(xlim=(-limit, limit), ylim=(-1, 1), xlabel="points of accuracy, challenger minus champion")
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)

    return svg("difference", draw, (5, 1.2), _spoken(value, low, high))


def reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """SVG of a reliability diagram: accuracy against confidence with Wilson intervals, and the diagonal.

    Args:
        bins: The result of `calibration.reliability`.
    """
    confidence = [row["confidence"] for row in bins]
    accuracy = np.array([row["accuracy"] for row in bins])
    errors = [accuracy - [row["low"] for row in bins], [row["high"] for row in bins] - accuracy]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=":")
        axes.errorbar(
            confidence, accuracy, yerr=np.abs(errors), fmt="o-", color=FIRST, ecolor=FIRST, elinewidth=1
        )
        axes.set(
            title="reliability diagram",
            xlabel="confidence, 0..1",
            ylabel="share that is correct, 0..1",
            xlim=(0, 1.02),
        )
        axes.set_ylim(0, 1.02)

    return svg("reliability", draw, HALF, "reliability diagram: accuracy against confidence")


def risk_coverage(points: Sequence[Sequence[float]], thresholds: Sequence[Mapping[str, Any]]) -> str:
    """SVG of the risk-coverage curve: the error among the answered images against their share.

    Args:
        points: Points (coverage, risk) of the curve, 0..1.
        thresholds: Abstention thresholds, see `selective.Abstention`; a dot marks each one that has answers.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        coverage, risk = np.array(points).T * 100
        axes.plot(coverage, risk, color=FIRST)
        for row in thresholds:
            if row["error"] is not None:
                axes.plot(100 * row["coverage"], 100 * row["error"], "o", color=SECOND, markersize=6)
        axes.set(
            title="risk-coverage curve", xlabel="coverage: answered, %", ylabel="risk: wrong among these, %"
        )
        axes.set(xlim=(0, 101), ylim=(0, None))

    return svg("risk", draw, HALF, "risk-coverage curve: error among the answered images")


def confusion_png(matrix: NDArray[np.int64], classes: tuple[str, ...]) -> str:
    """The confusion matrix as a PNG on white in a data URI, for viewers without HTML.

    Args:
        matrix: Counts of (label, predicted class), int64 (C, C).
        classes: Names of the classes, drawn for up to 30 classes; see `markup.in_pictures`.
    """
    count = len(classes)
    side = min(9.0, max(4.0, 0.55 * count))
    with mpl.rc_context(MATPLOTLIB):
        figure = _confusion_figure(matrix, markup.in_pictures(classes), side)
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=90)
    return data_uri(content.getvalue())


def _confusion_figure(matrix: NDArray[np.int64], names: Sequence[str], side: float) -> Figure:
    count = len(names)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="label")
    if count <= 30:
        axes.set_xticks(range(count), names, rotation=60, ha="right")
        axes.set_yticks(range(count), names)
    if count <= 15:
        for row, column in np.argwhere(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", color=colour, size=8)
    return figure


def data_uri(png: bytes) -> str:
    """A PNG as a data URI for an HTML page or markdown."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _spoken(value: float, low: float, high: float) -> str:
    ends = f"{low * 100:+.1f} to {high * 100:+.1f}"
    return f"difference {value * 100:+.1f} points of accuracy, 95 % interval {ends}"


def svg(name: str, draw: Callable[[Figure], None], size: tuple[float, float], label: str = "") -> str:
    """Draw a figure and return its SVG element.

    Args:
        name: Prefix of the ids in the SVG: the ids of several figures on one page must differ.
        draw: Draws on the empty figure that it is called with.
        size: Width and height in inches.
        label: What a screen reader says; the name without one.
    """
    with mpl.rc_context(STYLE | MATPLOTLIB):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        content = io.StringIO()
        figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = content.getvalue()
    return _themed(text[text.index("<svg") :], name, label or name)


def _curve(axes: Axes, epochs: pd.DataFrame, column: str, label: str, colour: str) -> None:
    if column in epochs and epochs[column].notna().any():
        points = epochs[["epoch", column]].dropna()
        marker = "o" if len(points) < 30 else None
        axes.plot(points["epoch"], points[column], color=colour, label=label, marker=marker, markersize=4)


def _themed(text: str, name: str, label: str) -> str:
    """The SVG with the page's font, unique ids, no fixed size, and CSS variables as colours."""
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;]*; ?", "", text)
    name = name.replace(" ", "-")
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = text.replace("<svg", f'<svg role="img" aria-label="{html.escape(label)}"', 1)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text
