"""A sweep's configurations below each other, best first: a dot for each seed, and the means' intervals."""

import io

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tasks.core.reports import plots

SHOWN = 30  # configurations
WIDE = 7.6  # inches
SEEDS = "one seed"
OVER_SEEDS = "mean, 95 % interval over seeds"
OVER_IMAGES = "95 % interval from the number of val images"


def svg(standings: pd.DataFrame, trials: pd.DataFrame) -> str:
    """As an SVG element in the page's colours.

    Args:
        standings: See `ranking.leaderboard`.
        trials: See `ranking.trials_table`.
    """
    shown = _shown(standings)
    colours = (plots.FIRST, plots.SECOND, plots.FAINT)
    return plots.svg("sweep", lambda figure: _draw(figure, shown, trials, colours), _size(shown))


def png(standings: pd.DataFrame, trials: pd.DataFrame) -> bytes:
    """On white, for places that show no SVG."""
    shown = _shown(standings)
    figure = Figure(figsize=_size(shown), layout="constrained")
    _draw(figure, shown, trials, ("#2b5fd9", "#d97a1f", "#8a8f99"))
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110)
    return content.getvalue()


def _shown(standings: pd.DataFrame) -> pd.DataFrame:
    return standings[standings["mean"].notna()].head(SHOWN).reset_index(drop=True)


def _size(shown: pd.DataFrame) -> tuple[float, float]:
    return WIDE, 1.3 + 0.34 * len(shown)


def _draw(figure: Figure, shown: pd.DataFrame, trials: pd.DataFrame, colours: tuple[str, str, str]) -> None:
    first, second, faint = colours
    axes = figure.subplots()
    places = np.arange(len(shown))
    axes.hlines(
        places,
        100 * shown["image_low"],
        100 * shown["image_high"],
        color=faint,
        linewidth=1,
        label=OVER_IMAGES,
    )
    repeated = shown["seeds"] > 1
    if repeated.any():
        several = shown[repeated]
        ends = (100 * several["low"], 100 * several["high"].clip(upper=1))
        axes.hlines(places[repeated], *ends, color=second, linewidth=5, alpha=0.45, label=OVER_SEEDS)
        axes.plot(
            100 * several["mean"], places[repeated], "|", color=second, markersize=13, markeredgewidth=2.5
        )
    _dots(axes, shown, trials, first)
    axes.set_yticks(places, [name or "as given" for name in shown["varied"]])
    axes.set(xlabel="accuracy on the validation images, %", ylim=(len(shown) - 0.5, -0.6))
    axes.grid(visible=False, axis="y")
    figure.legend(loc="outside upper left", ncols=3, frameon=False, fontsize=9)


def _dots(axes: Axes, shown: pd.DataFrame, trials: pd.DataFrame, colour: str) -> None:
    place = {number: row for row, number in enumerate(shown["configuration"])}
    drawn = trials[trials["configuration"].isin(place) & trials["val_accuracy"].notna()]
    rows = drawn["configuration"].map(place).to_numpy(float)
    axes.plot(100 * drawn["val_accuracy"], rows, "o", color=colour, markersize=6, alpha=0.75, label=SEEDS)
    best = drawn["chosen"].to_numpy(bool)
    axes.plot(
        100 * drawn["val_accuracy"][best],
        rows[best],
        "o",
        markersize=12,
        markerfacecolor="none",
        markeredgecolor=colour,
        markeredgewidth=1.5,
        label="chosen",
    )
