"""`plumbline compare` as a user runs it, on made-up runs; pandas and Pillow read what it wrote."""

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tasks.core.runs.columns import schemas
from tasks.core.workspace import Workspace
from tests.flows.commands.test_models import ok, refused
from tests.support.sample_runs import append_sample_runs

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(workspace: Workspace) -> Workspace:
    """A workspace with three made-up runs."""
    append_sample_runs(workspace)
    return workspace


def test_compare_prints_one_line_per_run(runs: Workspace) -> None:
    lines = ok(runs, "compare").splitlines()
    assert "test_accuracy" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert lines[1].split()[-1] == "42.0"
    assert "no runs found that fit: there are 3 of " in ok(runs, "compare", "--dataset", "digits")


def test_compare_with_out_writes_the_table(runs: Workspace, tmp_path: Path) -> None:
    csv, parquet = tmp_path / "runs.csv", tmp_path / "runs.parquet"
    selection = ("--columns", "version, test_accuracy", "--where", "recipe=fast", "--sort=-test_accuracy")
    ok(runs, "compare", *selection, "--out", str(csv))
    assert pd.read_csv(csv).to_numpy().tolist() == [["v0003", 0.74], ["v0001", 0.71]]
    ok(runs, "compare", "--columns", "all", "--out", str(parquet))
    columns = set(pd.read_parquet(parquet).columns)
    assert {*schemas.SCHEMAS["runs"].names, "parameters.epochs", "stages.train.cpu_seconds"} <= columns


def test_compare_with_plot_writes_an_image(runs: Workspace, tmp_path: Path) -> None:
    plot = ("compare", "--plot", str(tmp_path / "cost.png"))
    assert len(ok(runs, *plot).splitlines()) == 1
    assert [*map(str.strip, ok(runs, *plot, "--columns", "version").splitlines())][1:] == [
        *("version", "v0001", "v0002", "v0003")
    ]
    with Image.open(tmp_path / "cost.png") as image:
        assert image.size[0] > 600


def test_compare_with_a_mistyped_column_writes_no_plot(runs: Workspace, tmp_path: Path) -> None:
    plot = tmp_path / "cost.png"
    assert "no column" in refused(runs, "compare", "--plot", str(plot), "--columns", "verison")
    assert not plot.exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--columns", "acuracy"), "no column acuracy"),
        (("--last", "0"), "--last is out of range"),
        (("--out", "runs.xlsx"), "no known suffix"),
        (("--plot", "runs.pdf"), "no known suffix"),
    ],
)
def test_compare_with_bad_usage_prints_one_error(
    runs: Workspace, arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in refused(runs, "compare", *arguments)
