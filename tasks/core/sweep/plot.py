"""The plot of a sweep: a line per configuration, best first, with a dot per seed and intervals."""

import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.core.reports import plots

SHOWN = 30  # configurations in the plot
WIDTH = 7.6  # inches
SEEDS = "one seed"
OVER_SEEDS = "mean, 95 % interval over seeds"
OVER_IMAGES = "95 % interval from the number of val images"


def svg(leaderboard: pd.DataFrame, trials: pd.DataFrame) -> str:
    """The plot as an SVG element in the colours of the page.

    Args:
        leaderboard: The result of `ranking.leaderboard`.
        trials: The result of `ranking.trials_table`.
    """
    shown = _plotted(leaderboard)
    colours = (plots.FIRST, plots.SECOND, plots.FAINT)
    return plots.svg("sweep", lambda figure: _draw(figure, shown, trials, colours), _size(shown))


def png(leaderboard: pd.DataFrame, trials: pd.DataFrame) -> bytes:
    """The plot as a PNG on white, for viewers without SVG."""
    shown = _plotted(leaderboard)
    figure = Figure(figsize=_size(shown), layout="constrained")
    _draw(figure, shown, trials, ("#2b5fd9", "#d97a1f", "#8a8f99"))
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _plotted(leaderboard: pd.DataFrame) -> pd.DataFrame:
    return leaderboard[leaderboard["mean"].notna()].head(SHOWN).reset_index(drop=True)


def _size(shown: pd.DataFrame) -> tuple[float, float]:
    return WIDTH, 1.3 + 0.34 * len(shown)


def _draw(figure: Figure, shown: pd.DataFrame, trials: pd.DataFrame, colours: tuple[str, str, str]) -> None:
    first, second, faint = colours
    axes = figure.subplots()
    positions = np.arange(len(shown))
    axes.hlines(
        positions,
        100 * shown["image_low"],
        100 * shown["image_high"],
        color=faint,
        linewidth=1,
        label=OVER_IMAGES,
    )
    repeated = shown["seeds"] > 1
    if repeated.any():
        several = shown[repeated]
        ends = (100 * several["low"], 100 * several["high"])
        axes.hlines(positions[repeated], *ends, color=second, linewidth=5, alpha=0.45, label=OVER_SEEDS)
        axes.plot(
            100 * several["mean"], positions[repeated], "|", color=second, markersize=13, markeredgewidth=2.5
        )
    _dots(axes, shown, trials, first)
    axes.set_yticks(positions, [name or "as given" for name in shown["varied"]])
    axes.set(xlabel="accuracy on the validation images, %", ylim=(len(shown) - 0.5, -0.6))
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)


def _dots(axes: Axes, shown: pd.DataFrame, trials: pd.DataFrame, colour: str) -> None:
    position_of = {number: row for row, number in enumerate(shown["configuration"])}
    finished = trials[trials["configuration"].isin(position_of) & trials["val_accuracy"].notna()]
    rows = finished["configuration"].map(position_of).to_numpy(float)
    axes.plot(100 * finished["val_accuracy"], rows, "o", color=colour, markersize=6, alpha=0.75, label=SEEDS)
    chosen = finished["chosen"].to_numpy(bool)
    axes.plot(
        100 * finished["val_accuracy"][chosen],
        rows[chosen],
        "o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=1.5,
        label="chosen",
    )
