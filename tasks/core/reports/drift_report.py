"""The drift report of a batch: compares it with the model's profile and writes figures, a page and a plot."""

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.inference.prediction_table import Batch
from tasks.core.markup import markdown
from tasks.core.metrics import drift
from tasks.core.metrics.drift import Drift, Features
from tasks.core.registry import registry
from tasks.core.reports.render import render
from tasks.core.stage.handles import ModelVersion
from tasks.core.storage import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES, PAGE, PICTURE = "_drift.json", "_drift.html", "_drift.png"
TABLE = "profile.parquet"
SHOWN = 6  # features with a histogram
BINS = 40
SIDES = {"profile": "#2b5fd9", "batch": "#d97a1f"}
FAINT, BAD = "#646a76", "#c23431"


def write_drift_report(batch: Batch, version: ModelVersion) -> Drift:
    """Compare a complete batch with the profile of its model.

    Writes `_drift.json` to the directory of the batch, and, if a comparison was possible, `_drift.html` and
    `_drift.png`.

    Args:
        batch: The batch; all of its parts exist.
        version: The model that predicted the batch.
    """
    profile = profile_features(version)
    sample = _sample(batch) if profile else {}
    if profile:
        result = drift.compare(profile, sample)
    else:
        result = Drift((), 0, 0, f"{version.version} was published without a profile of its images")
    content = json.dumps(result.record(), indent=1).encode()
    atomic.write_bytes(batch.directory / FIGURES, content)
    if result.shifts:
        title, png = f"{version.dataset} {version.version}", picture(result, profile, sample)
        atomic.write_bytes(batch.directory / PAGE, _page(title, batch, result, png).encode())
        atomic.write_bytes(batch.directory / PICTURE, png)
    return result


def summary(batch: Batch, result: Drift) -> str:
    """Markdown for the dashboard: the verdict, the features and the plot."""
    from tasks.core.reports.plots import data_uri

    rows = [
        f"| {shift.feature} | {shift.before:.4g} | {shift.now:.4g} | {shift.distance:.3f} "
        f"| {shift.p_value:.2g} | {'**drift**' if shift.drifted else ''} |"
        for shift in result.shifts
    ]
    title = f"## {markdown(batch.request.dataset)} {batch.request.version}, batch {batch.name}"
    lines = [title, "", f"**{markdown(result)}**"]
    if rows:
        header = "| feature | profile, median | batch, median | distance | p, corrected | |"
        lines += ["", header, "|---|---|---|---|---|---|", *rows]
        png = (batch.directory / PICTURE).read_bytes()
        lines += ["", f"![the features with the largest distance]({data_uri(png)})"]
    return "\n".join(lines)


def picture(result: Drift, profile: Features, batch: Features) -> bytes:
    """A PNG on white: the distances of all features, and histograms of the most distant features."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 6))
    # Margins as numbers, in shares of the figure: finding them ("constrained") draws everything twice.
    grid = figure.add_gridspec(1, 1, left=0.15, right=0.385, top=0.99, bottom=0.095)
    _distances(figure.add_subplot(grid[0, 0]), result)
    grid = figure.add_gridspec(3, 2, left=0.45, right=0.99, top=0.95, bottom=0.05, hspace=0.38, wspace=0.18)
    plots = np.asarray(grid.subplots())
    for axes, shift in zip(plots.flat, result.shifts[:SHOWN], strict=False):
        _histograms(axes, shift.feature, profile, batch)
    plots.flat[0].legend(frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90, metadata={"Software": None})
    return content.getvalue()


def _page(title: str, batch: Batch, result: Drift, png: bytes) -> str:
    from tasks.core.reports.plots import data_uri

    content = {
        "title": title,
        "batch": batch.name,
        "drift": result,
        "picture": data_uri(png),
        "units": drift.UNITS,
        "value_text": drift.value_text,
        "method": drift.METHOD,
        "false_alarm_rate": drift.ALPHA,
        "min_distance": drift.MIN_KS_DISTANCE,
    }
    return render("drift.html.j2", content)


def _distances(axes: "Axes", result: Drift) -> None:
    shifts = result.shifts[::-1]
    names = [shift.feature.replace("_", " ") for shift in shifts]
    colours = [BAD if shift.drifted else FAINT for shift in shifts]
    axes.barh(names, [shift.distance for shift in shifts], color=colours)
    axes.axvline(drift.MIN_KS_DISTANCE, color=FAINT, linestyle=":", linewidth=1.5)
    axes.set(xlabel="distance between profile and batch", xlim=(0, 1))
    axes.spines[["top", "right"]].set_visible(False)


def _histograms(axes: "Axes", name: str, profile: Features, batch: Features) -> None:
    values_of_both = np.concatenate([profile[name], batch[name]]).astype(np.float64)
    low, high = np.quantile(values_of_both, [0.002, 0.998])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    for features, (label, colour) in zip((profile, batch), SIDES.items(), strict=True):
        values = np.clip(features[name], edges[0], edges[-1])
        shares = np.histogram(values, edges)[0] * 100 / len(values)
        axes.stairs(shares, edges, fill=True, color=colour, alpha=0.55, label=label)
    axes.set(title=name.replace("_", " "), ylabel="images, %")
    axes.locator_params(nbins=4)  # ticks take most of the time of a picture
    axes.spines[["top", "right"]].set_visible(False)


def profile_features(version: ModelVersion) -> Features:
    """The features of a version's profile, by name; empty for a version without a profile."""
    path = version.directory / registry.PROFILE / TABLE
    return _numbers(pq.read_table(path)) if path.exists() else {}


def _sample(batch: Batch) -> Features:
    parts = [_read(batch.sample(part)) for part in range(len(batch.parts)) if batch.sample(part).exists()]
    return _numbers(pa.concat_tables([part for part in parts if part.num_rows] or parts[:1]))


def _read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _numbers(table: pa.Table) -> dict[str, NDArray[np.floating]]:
    return {name: table[name].to_numpy() for name in table.column_names}
