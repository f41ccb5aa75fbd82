"""`plumbline compare` as a person runs it, on made-up runs; pandas and Pillow read what it wrote."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tasks.core.runs import tables
from tasks.core.workspace import Workspace
from tests.flows.test_models_command import ok, refused
from tests.support.sample_runs import made_up


@pytest.fixture
def runs(workspace: Workspace) -> Workspace:
    made_up(workspace)
    return workspace


def test_the_table_is_printed(runs: Workspace) -> None:
    lines = ok(runs, "compare").splitlines()
    assert "test_accuracy" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert lines[1].split()[-1] == "42.0"
    assert "no such runs" in ok(runs, "compare", "--dataset", "digits")


def test_the_table_is_written(runs: Workspace, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "runs.csv", tmp_path / "runs.parquet"
    wanted = ("--columns", "version, test_accuracy", "--where", "recipe=fast", "--sort=-test_accuracy")
    ok(runs, "compare", *wanted, "--out", str(csv))
    assert pd.read_csv(csv).to_numpy().tolist() == [["v0003", 0.74], ["v0001", 0.71]]
    ok(runs, "compare", "--columns", "all", "--out", str(parquet))
    written = set(pd.read_parquet(parquet).columns)
    assert {*tables.SCHEMAS["runs"].names, "parameters.epochs", "stages.train.cpu_seconds"} <= written


def test_the_plot_is_a_picture(runs: Workspace, tmp_path: Path) -> None:
    ok(runs, "compare", "--plot", str(tmp_path / "cost.png"))
    with Image.open(tmp_path / "cost.png") as picture:
        assert picture.size[0] > 600


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--columns", "acuracy"), "no column acuracy"),
        (("--out", "runs.xlsx"), "no known suffix"),
        (("--plot", "runs.pdf"), "no known suffix"),
    ],
)
def test_what_cannot_be_is_one_clear_error(runs: Workspace, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(runs, "compare", *arguments)
