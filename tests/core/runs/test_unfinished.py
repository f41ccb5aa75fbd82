"""Rows of a run that ended between two tables: no row is there twice after the next run."""

import shutil
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from tasks.core.operations.doctor import diagnostics
from tasks.core.runs import prune, tables
from tasks.core.runs.table_files import folding
from tests.core.runs.test_reproduce import append_run
from tests.support.fake_outputs import FakeOutputs

pytestmark = pytest.mark.slow


def end_before(refused: str, fake: FakeOutputs) -> None:
    """Let the run r1 end before it writes to a table: a file is where its part belongs."""
    obstacle = Path(fake.workspace.metrics, refused, "dataset=animals")
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("", encoding="utf-8")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        append_run(fake, "r1", "one", 2.0)
    obstacle.unlink()


@pytest.mark.parametrize("refused", ["predictions", "runs"])
def test_next_run_completes_the_tables_of_one_that_ended_midway(fake: FakeOutputs, refused: str) -> None:
    end_before(refused, fake)
    append_run(fake, "r2", "one", 2.0)
    assert len(tables.read("predictions", fake.workspace)) == 400 + 80  # test and val images
    for name in ("classes", "epochs", "predictions"):
        assert set(tables.read(name, fake.workspace)["run_id"]) == {"r1"}, name
    assert tables.read("runs", fake.workspace)["run_id"].tolist() == ["r2"]
    assert not list(fake.workspace.metrics.glob("runs/.unfinished/*"))


def test_what_cleans_up_leaves_the_run_that_ended_midway_to_the_next_one(fake: FakeOutputs) -> None:
    end_before("runs", fake)
    old = tables.append("runs", "animals", "old", pd.DataFrame([{"test_accuracy": 0.5}]), fake.workspace)
    for number in range(folding.SMALL_PARTS):
        shutil.copy(old, old.with_name(f"old-{number}.parquet"))
    tables.append("runs", "animals", "next", pd.DataFrame([{"test_accuracy": 0.5}]), fake.workspace)
    assert len(list(old.parent.glob("*.parquet"))) < folding.SMALL_PARTS  # they were folded
    prune.prune(fake.workspace, keep=1, older_than=timedelta(0))
    diagnostics.mend(fake.workspace)
    append_run(fake, "r2", "one", 2.0)
    assert set(tables.read("epochs", fake.workspace)["run_id"]) == {"r1"}
