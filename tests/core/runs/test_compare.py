import json

import pandas as pd
import pytest

from tasks.core.errors import UsageError
from tasks.core.runs import compare, tables
from tasks.core.workspace import Workspace
from tests.support.sample_runs import made_up


@pytest.fixture
def runs(workspace: Workspace) -> pd.DataFrame:
    made_up(workspace)
    return compare.runs(workspace)


@pytest.mark.parametrize(
    ("conditions", "sort", "last", "expected"),
    [
        ([], "started", None, ["v0001", "v0002", "v0003"]),
        ([], "test_accuracy", None, ["v0002", "v0001", "v0003"]),
        ([], "-cost_cpu_seconds", None, ["v0002", "v0003", "v0001"]),
        (["recipe=fast"], "started", None, ["v0001", "v0003"]),
        (["test_accuracy>=0.71", "parameters.epochs<5"], "started", None, ["v0001"]),
        (["parameters.augment=true"], "started", None, ["v0001"]),
        (["promoted != true"], "started", None, ["v0002"]),
        (["verdict~NOT proven"], "started", None, ["v0001", "v0002"]),
        (["started>2026-01-02"], "started", None, ["v0002", "v0003"]),
        ([], "started", 1, ["v0003"]),
    ],
)
def test_rows_are_chosen_and_sorted(
    runs: pd.DataFrame, conditions: list[str], sort: str, last: int | None, expected: list[str]
) -> None:
    assert list(compare.select(runs, conditions, sort, last)["version"]) == expected


def test_the_cost_is_that_of_the_stages_when_made_without_the_champions(runs: pd.DataFrame) -> None:
    assert list(runs[compare.COST]) == [42.0, 602.0, 92.0]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("acuracy>0.7", "no column acuracy"),
        ("test_accuracy", "not a condition"),
        ("test_accuracy>high", "cannot be 'high'"),
        ("promoted=perhaps", "cannot be 'perhaps'"),
        ("started>yesterday evening", "cannot be"),
    ],
)
def test_what_cannot_be_asked_is_said(runs: pd.DataFrame, condition: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compare.select(runs, [condition])


def test_no_runs_is_an_empty_table(workspace: Workspace) -> None:
    table = compare.columns(compare.select(compare.runs(workspace), [], "-test_accuracy"), None)
    assert table.empty
    assert compare.as_text(table) == []


def test_runs_of_before_the_json_columns_still_compare(workspace: Workspace) -> None:
    tables.append("runs", "a", "r1", pd.DataFrame([{"test_accuracy": 0.5}]), workspace)
    row = {"test_accuracy": 0.6, "parameters": json.dumps({"epochs": 3})}
    tables.append("runs", "a", "r2", pd.DataFrame([row]), workspace)
    table = compare.select(compare.runs(workspace), ["parameters.epochs=3"])
    assert list(table["run_id"]) == ["r2"]
