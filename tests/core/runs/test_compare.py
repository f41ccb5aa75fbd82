import json

import pandas as pd
import pytest

from tasks.core.errors import UsageError
from tasks.core.runs import compare, tables
from tasks.core.workspace import Workspace
from tests.support.sample_runs import append_sample_runs


@pytest.fixture
def runs(workspace: Workspace) -> pd.DataFrame:
    append_sample_runs(workspace)
    return compare.runs(workspace)


@pytest.mark.parametrize(
    ("conditions", "sort", "last", "expected"),
    [
        ([], "started", None, ["v0001", "v0002", "v0003"]),
        ([], "test_accuracy", None, ["v0002", "v0001", "v0003"]),
        ([], "-cost_cpu_seconds", None, ["v0002", "v0003", "v0001"]),
        (["recipe=fast"], "started", None, ["v0001", "v0003"]),
        (["recipe = 'fast'"], "started", None, ["v0001", "v0003"]),
        (["test_accuracy>=0.71", "parameters.epochs<5"], "started", None, ["v0001"]),
        (["parameters.augment=true"], "started", None, ["v0001"]),
        (["promoted != true"], "started", None, ["v0002"]),
        (["verdict~NOT proven"], "started", None, ["v0001", "v0002"]),
        (["started>2026-01-02"], "started", None, ["v0002", "v0003"]),
        ([], "started", 1, ["v0003"]),
    ],
)
def test_select_filters_and_sorts_rows(
    runs: pd.DataFrame, conditions: list[str], sort: str, last: int | None, expected: list[str]
) -> None:
    assert list(compare.select(runs, conditions, sort, last)["version"]) == expected


def test_runs_cost_counts_cached_stages_but_not_the_champion(runs: pd.DataFrame) -> None:
    assert list(runs[compare.COST]) == [42.0, 602.0, 92.0]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("acuracy>0.7", "no column acuracy"),
        ("test_accuracy", "not a condition"),
        ("test_accuracy>high", "cannot be 'high'"),
        ("test_accuracy>nan", "cannot be 'nan'"),
        ("test_accuracy>0,9", "expected  a number, such as 0.7"),
        ("promoted=perhaps", "cannot be 'perhaps'"),
        ("promoted=1", "expected  true or false"),
        ("started>yesterday evening", "cannot be"),
        ("recipe=fast and test_accuracy>0.7", "more than one condition"),
        ("recipe=fast, seed=0", "more than one condition"),
    ],
)
def test_select_invalid_condition_raises(runs: pd.DataFrame, condition: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        compare.select(runs, [condition])


def test_a_column_that_is_named_twice_is_there_once(runs: pd.DataFrame) -> None:
    assert list(compare.columns(runs, "version, seed,version").columns) == ["version", "seed"]


def test_select_without_runs_gives_an_empty_table(workspace: Workspace) -> None:
    table = compare.columns(compare.select(compare.runs(workspace), [], "-test_accuracy"), None)
    assert table.empty
    assert compare.as_text(table) == []


def test_select_runs_without_json_columns_are_compared(workspace: Workspace) -> None:
    tables.append("runs", "a", "r1", pd.DataFrame([{"test_accuracy": 0.5}]), workspace)
    row = {"test_accuracy": 0.6, "parameters": json.dumps({"epochs": 3})}
    tables.append("runs", "a", "r2", pd.DataFrame([row]), workspace)
    table = compare.select(compare.runs(workspace), ["parameters.epochs=3"])
    assert list(table["run_id"]) == ["r2"]
