"""Runs side by side: the table of runs with its JSON columns unfolded, chosen, sorted, written or drawn."""

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.core.errors import UsageError
from tasks.core.runs import tables
from tasks.core.storage import atomic
from tasks.core.workspace import Workspace

UNFOLDED = ("parameters", "stages", "packages")
COST = "cost_cpu_seconds"
SHOWN = (
    "started",
    "dataset",
    "recipe",
    "seed",
    "version",
    "promoted",
    "test_accuracy",
    "test_accuracy_low",
    "test_accuracy_high",
    "test_macro_f1",
    "test_log_loss",
    COST,
)
CONDITION = re.compile(r"\s*([\w.]+)\s*(<=|>=|!=|=|<|>|~)\s*(.*?)\s*")
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}


def runs(workspace: Workspace, dataset: str | None = None) -> pd.DataFrame:
    """The table `runs`, oldest first, with a column for each value in its columns of JSON.

    `cost_cpu_seconds` is what the run's stages cost when they were made, in whichever run that was:
    cached runs compare fairly with others. Scoring the champion doesn't count.
    """
    table = tables.read("runs", workspace, dataset).sort_values("started", kind="stable", ignore_index=True)
    values = [_unfolded(row) for row in table.to_dict("records")]
    costs = pd.Series([_cost(row.get("stages", {})) for row in values], name=COST, dtype=float)
    return pd.concat([table, costs, pd.json_normalize(values)], axis=1)


def select(
    table: pd.DataFrame, conditions: Sequence[str], sort: str = "started", last: int | None = None
) -> pd.DataFrame:
    """The rows for which all conditions hold, sorted.

    Args:
        conditions: Column, one of = != < <= > >= ~, value; ~ asks whether a text is contained.
        sort: A column; with a minus before it, the largest first.
        last: Only the last so many of the sorted rows.

    Raises:
        UsageError: An unknown column, or a value that the column cannot have.
    """
    for condition in conditions:
        table = table[_holds(table, condition)]
    name = sort.removeprefix("-")
    _known(table, name)
    table = table.sort_values(name, ascending=not sort.startswith("-"), kind="stable", ignore_index=True)
    return table if last is None else table.tail(last)


def columns(table: pd.DataFrame, names: str | None) -> pd.DataFrame:
    """Some columns in the order asked for.

    Args:
        names: With commas between them; None means the usual ones, "all" each.

    Raises:
        UsageError: An unknown column.
    """
    if names == "all":
        return table
    wanted = list(SHOWN) if names is None else [name.strip() for name in names.split(",")]
    for name in wanted:
        _known(table, name)
    return table[wanted]


def as_text(table: pd.DataFrame) -> list[dict[str, str]]:
    """The rows as people read them."""
    return [{str(name): _text(value) for name, value in row.items()} for row in table.to_dict("records")]


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a .csv or .parquet file, whole or not at all.

    Raises:
        UsageError: Another suffix.
    """
    writers: dict[str, Callable[[Path], Any]] = {
        ".csv": lambda staging: table.to_csv(staging, index=False),
        ".parquet": lambda staging: table.to_parquet(staging, index=False),
    }
    _put(path, writers)


def plot_accuracy_against_cost(table: pd.DataFrame, path: Path) -> None:
    """Accuracy with its interval against cost, one colour a recipe, into a .png or .svg file.

    Raises:
        UsageError: Another suffix, or no runs.
    """
    from tasks.core.reports import plots  # matplotlib takes half a second that a printed table doesn't need

    if table.empty:
        raise UsageError("there are no runs to draw", done="nothing was written")
    figure = plots.accuracy_against_cost(table, COST)
    _put(path, {suffix: _saver(figure, suffix[1:]) for suffix in (".png", ".svg")})


def _saver(figure: Any, form: str) -> Callable[[Path], Any]:
    return lambda staging: figure.savefig(staging, format=form, dpi=120)


def _put(path: Path, writers: Mapping[str, Callable[[Path], Any]]) -> None:
    if path.suffix not in writers:
        raise UsageError(
            f"{path} has no known suffix", expected=" or ".join(writers), done="nothing was written"
        )
    with atomic.replacing(path) as staging:
        writers[path.suffix](staging)


def _unfolded(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {name: json.loads(row[name]) for name in UNFOLDED if isinstance(row[name], str)}


def _cost(stages: Mapping[str, Mapping[str, Any]]) -> float:
    spent = [entry.get("cpu_seconds") or 0 for name, entry in stages.items() if not name.endswith("champion")]
    return float(sum(spent))


def _holds(table: pd.DataFrame, condition: str) -> "pd.Series[bool]":
    parts = CONDITION.fullmatch(condition)
    if parts is None:
        raise UsageError(
            f"{condition!r} is not a condition", expected="such as accuracy>0.7, recipe=fast, verdict~proven"
        )
    name, sign, text = parts.groups()
    _known(table, name)
    if sign == "~":
        return table[name].astype("string").str.contains(text, case=False, regex=False).fillna(False)
    return OPERATORS[sign](table[name], _value(table[name], text))


def _value(column: "pd.Series[Any]", text: str) -> Any:
    """The text as a value of the column's kind."""
    try:
        if column.map(lambda value: isinstance(value, bool) or pd.isna(value)).all():
            return {"true": True, "false": False}[text.lower()]
        if pd.api.types.is_numeric_dtype(column):
            return float(text)
        if pd.api.types.is_datetime64_any_dtype(column):
            moment = pd.Timestamp(text)
            return moment if moment.tzinfo else moment.tz_localize("UTC")
    except (ValueError, KeyError) as error:
        raise UsageError(
            f"the column {column.name} cannot be {text!r}", expected=f"a value of its kind, {column.dtype}"
        ) from error
    return text


def _known(table: pd.DataFrame, name: str) -> None:
    if name not in table:
        raise UsageError(
            f"there is no column {name}", expected=f"one of {', '.join(map(str, table.columns))}"
        )


def _text(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.4f}" if abs(value) < 10 else f"{value:,.1f}"
    return "" if value is None or value is pd.NaT else str(value)
