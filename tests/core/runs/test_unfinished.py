"""Rows of a run that ended between two tables: no row is there twice after the next run."""

from pathlib import Path

import pytest

from tasks.core.runs import tables
from tests.core.runs.test_reproduce import append_run
from tests.support.fake_outputs import FakeOutputs


@pytest.mark.parametrize("refused", ["predictions", "runs"])
def test_next_run_completes_the_tables_of_one_that_ended_midway(fake: FakeOutputs, refused: str) -> None:
    """A file where the table's part belongs lets the first run end before it writes that part."""
    obstacle = Path(fake.workspace.metrics, refused, "dataset=animals")
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("")
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        append_run(fake, "r1", "one", 2.0)
    obstacle.unlink()
    append_run(fake, "r2", "one", 2.0)
    assert len(tables.read("predictions", fake.workspace)) == 400 + 80  # test and val images
    for name in ("classes", "epochs", "predictions"):
        assert set(tables.read(name, fake.workspace)["run_id"]) == {"r1"}, name
    assert tables.read("runs", fake.workspace)["run_id"].tolist() == ["r2"]
    assert not list(fake.workspace.metrics.glob("runs/.unfinished/*"))
