"""Compares runs: expands the JSON columns of the table of runs, selects, sorts, writes and plots rows."""

import difflib
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.core import markup
from tasks.core.errors import UsageError
from tasks.core.metrics.declared.declarations import METRICS
from tasks.core.runs import tables
from tasks.core.storage import atomic
from tasks.core.workspace import Workspace

JSON_COLUMNS = ("parameters", "stages", "packages")
COST = "cost_cpu_seconds"
DEFAULT_COLUMNS = (
    "started",
    "dataset",
    "recipe",
    "seed",
    "version",
    "promoted",
    *("test_accuracy", "test_accuracy_low", "test_accuracy_high"),
    *(name for metric in METRICS if (name := f"test_{metric.key}") != "test_accuracy"),
    COST,
)
CONDITION = re.compile(r"\s*([\w.]+)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*")
SEVERAL = re.compile(r"(\b(and|or)\b|&|\||,)\s*[\w.]+\s*(<=|>=|!=|=|<|>|~)", re.IGNORECASE)
QUOTED = re.compile(r"(['\"]).*\1")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


def runs(workspace: Workspace, dataset: str | None = None) -> pd.DataFrame:
    """The table `runs`, oldest run first, with one more column for each value in its JSON columns.

    The column `cost_cpu_seconds` is the CPU time of the run's stages when they were computed, in this run or
    in an earlier one, so that runs with cached stages compare fairly. The evaluation of the champion does not
    count.

    Args:
        workspace: The workspace with the metrics tables.
        dataset: Only runs of this dataset; None reads all.
    """
    table = tables.read("runs", workspace, dataset).sort_values("started", kind="stable", ignore_index=True)
    values = [_parsed_json(row) for row in table.to_dict("records")]
    costs = pd.Series([_cost(row.get("stages", {})) for row in values], name=COST, dtype=float)
    return pd.concat([table, costs, pd.json_normalize(values)], axis=1)


def select(
    table: pd.DataFrame, conditions: Sequence[str], sort: str = "started", last: int | None = None
) -> pd.DataFrame:
    """The rows that satisfy all conditions, sorted.

    Args:
        table: As `runs` returns it.
        conditions: Each a column, an operator (= != < <= > >= ~) and a value; ~ means "contains the text".
        sort: A column; a leading minus sorts the largest first.
        last: Take only this number of rows, the last rows of the sorted table; None takes all. With the
            default sort these are the latest runs.

    Raises:
        UsageError: A column is unknown, or a value is impossible for its column.
    """
    for condition in conditions:
        table = table[_holds(table, condition)]
    name = sort.removeprefix("-")
    _check_column(table, name)
    table = table.sort_values(name, ascending=not sort.startswith("-"), kind="stable", ignore_index=True)
    return table if last is None else table.tail(last)


def columns(table: pd.DataFrame, names: str | None) -> pd.DataFrame:
    """The named columns, in the given order.

    Args:
        table: As `runs` returns it.
        names: Column names separated by commas; None means `DEFAULT_COLUMNS`, "all" means every column.
            Of the default columns, those of metrics that no run has are left out.

    Raises:
        UsageError: A column is unknown.
    """
    if names == "all":
        return table
    if names is None:
        unused = {f"test_{metric.key}" for metric in METRICS if table[f"test_{metric.key}"].isna().all()}
        return table[[name for name in DEFAULT_COLUMNS if len(table) == 0 or name not in unused]]
    selected = [*dict.fromkeys(name.strip() for name in names.split(","))]
    for name in selected:
        _check_column(table, name)
    return table[selected]


def as_text(table: pd.DataFrame) -> list[dict[str, str]]:
    """The rows as text for the console."""
    return [{str(name): _text(value) for name, value in row.items()} for row in table.to_dict("records")]


def write(table: pd.DataFrame, path: Path) -> None:
    """Write the table atomically to a .csv or .parquet file.

    Raises:
        UsageError: The path has another suffix.
    """
    writers: dict[str, Callable[[Path], Any]] = {
        ".csv": lambda staging: _for_people(table).to_csv(staging, index=False),
        ".parquet": lambda staging: table.to_parquet(staging, index=False),
    }
    _put(path, writers)


def _for_people(table: pd.DataFrame) -> pd.DataFrame:
    """The table without texts that a spreadsheet would calculate."""
    return table.map(lambda value: markup.cell(value) if isinstance(value, str) else value)


def plot_accuracy_against_cost(table: pd.DataFrame, path: Path) -> None:
    """Plot accuracy with its interval against cost, one colour per recipe, to a .png or .svg file.

    Raises:
        UsageError: The path has another suffix, or there are no runs.
    """
    if table.empty:
        raise UsageError("there are no runs to plot", done="nothing was written")
    import matplotlib as mpl

    with mpl.rc_context(markup.MATPLOTLIB):
        figure = _accuracy_against_cost(table)
    _put(path, {suffix: _saver(figure, suffix[1:]) for suffix in (".png", ".svg")})


def _accuracy_against_cost(runs: pd.DataFrame) -> Any:
    """A figure of test accuracy with its interval against cost, one colour per dataset and recipe.

    Args:
        runs: As the function `runs` returns them.
    """
    from matplotlib.figure import Figure  # imported here: it takes 0.5 s, other commands do not need it

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    datasets = sorted(runs["dataset"].unique())
    shown = dict(zip(datasets, markup.in_pictures(datasets), strict=True))
    for (dataset, recipe), group in runs.groupby(["dataset", "recipe"], dropna=False):
        accuracy = 100 * group["test_accuracy"]
        errors = [accuracy - 100 * group["test_accuracy_low"], 100 * group["test_accuracy_high"] - accuracy]
        axes.errorbar(
            group[COST], accuracy, yerr=errors, fmt="o", label=f"{shown[dataset]}, {recipe}", capsize=3
        )
        for x, y, version in zip(group[COST], accuracy, group["version"], strict=True):
            axes.annotate(str(version), (x, y), xytext=(6, 4), textcoords="offset points", size=8)
    axes.set(xlabel="cost of the stages when computed, CPU-seconds", ylabel="test accuracy, %", xscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return figure


def _saver(figure: Any, file_format: str) -> Callable[[Path], Any]:
    return lambda staging: figure.savefig(staging, format=file_format, dpi=120)


def _put(path: Path, writers: Mapping[str, Callable[[Path], Any]]) -> None:
    if path.suffix not in writers:
        raise UsageError(
            f"{path} has no known suffix", expected=" or ".join(writers), done="nothing was written"
        )
    with atomic.replacing(path) as staging:
        writers[path.suffix](staging)


def _parsed_json(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: json.loads(row[name]) for name in JSON_COLUMNS if isinstance(row[name], str)}


def _cost(stages: Mapping[str, Mapping[str, Any]]) -> float:
    """CPU-seconds of the stages when they were computed, without those of the champion."""
    cpu_seconds = [
        entry.get("cpu_seconds") or 0 for name, entry in stages.items() if not name.endswith("champion")
    ]
    return float(sum(cpu_seconds))


def _holds(table: pd.DataFrame, condition: str) -> "pd.Series[bool]":
    """Whether each row satisfies the condition."""
    match = CONDITION.fullmatch(condition)
    if match is None:
        raise UsageError(
            f"{condition!r} is not a condition",
            expected="such as test_accuracy>0.7, recipe=fast, verdict~proven",
        )
    name, comparison, text = match.groups()
    _check_column(table, name)
    if SEVERAL.search(text):
        raise UsageError(
            f"{condition!r} is more than one condition",
            expected="one for each --where; all of them must hold",
            todo="write --where again for the second one; there is no or",
        )
    text = text[1:-1] if QUOTED.fullmatch(text) else text
    if comparison == "~":
        return table[name].astype("string").str.contains(text, case=False, regex=False).fillna(False)
    return OPERATORS[comparison](table[name], _value(table[name], text))


def _value(column: "pd.Series[Any]", text: str) -> Any:
    """The text converted to the type of the column."""
    try:
        if _is_boolean(column):
            return {"true": True, "false": False}[text.lower()]
        if pd.api.types.is_numeric_dtype(column):
            if math.isnan(number := float(text)):
                raise ValueError("no number is smaller, equal or larger")
            return number
        if pd.api.types.is_datetime64_any_dtype(column):
            timestamp = pd.Timestamp(text)
            return timestamp if timestamp.tzinfo else timestamp.tz_localize("UTC")
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"the column {column.name} cannot be {text!r}", expected=_expected(column)
        ) from error
    return text


def _is_boolean(column: "pd.Series[Any]") -> bool:
    return bool(column.map(lambda value: isinstance(value, bool) or pd.isna(value)).all())


def _expected(column: "pd.Series[Any]") -> str:
    """The values that a column can have."""
    if _is_boolean(column):
        return "true or false"
    if pd.api.types.is_numeric_dtype(column):
        return "a number, such as 0.7"
    return "a time, such as 2026-01-31 or 2026-01-31T12:00"


def _check_column(table: pd.DataFrame, name: str) -> None:
    if name in table:
        return
    names = [str(column) for column in table.columns]
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    dotted = "stages.train.cpu_seconds and others with a dot (`plumbline compare --columns all`)"
    raise UsageError(
        f"there is no column {name or 'without a name'}",
        expected=", ".join(column for column in names if "." not in column) + f"; {dotted}",
        todo=f"did you mean {' or '.join(near)}?" if near else "",
    )


def _text(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
    return "" if value is None or value is pd.NaT else str(value)
