import contextlib
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.operations.doctor import integrity
from tasks.core.runs import tables
from tasks.core.runs.columns import schemas
from tasks.core.runs.table_files import filling, folding, parts
from tasks.core.storage import checksum_list
from tasks.core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[4]


def add(workspace: Workspace, number: int, dataset: str = "digits") -> Path:
    frame = pd.DataFrame([{"test_accuracy": number / 1000, "verdict": "x" * number}])
    return tables.append("runs", dataset, f"r{number:04d}", frame, workspace)


def one_part_a_run(workspace: Workspace, count: int) -> Path:
    """A table as versions before this one wrote it: the columns in the folder of the table, a file a run."""
    folder = workspace.metrics / "runs"
    schema = schemas.SCHEMAS["runs"]
    parts.write(folder / parts.COLUMNS_FILE, schema.empty_table())
    for number in range(count):
        values = {"run_id": [f"r{number:04d}"], "test_accuracy": [number / 1000]}
        rows = filling.with_columns(pa.table(values), schema)
        parts.write(folder / "dataset=digits" / f"r{number:04d}.parquet", rows)
    parts.list_new(folder)
    return folder


def plain(folder: Path) -> list[list[str]]:
    """The runs as four readers see them that know nothing of Plumbline, sorted."""
    pattern = f"{folder}/**/*.parquet"
    duck = (
        duckdb.connect().sql(f"select run_id from read_parquet('{pattern}', union_by_name=true)").fetchall()
    )
    return [
        sorted(pd.read_parquet(folder)["run_id"]),
        sorted(pq.read_table(folder)["run_id"].to_pylist()),
        sorted(polars.scan_parquet(f"{folder}/*/*.parquet", missing_columns="insert").collect()["run_id"]),
        sorted(run for (run,) in duck),
    ]


def names(count: int) -> list[str]:
    return [f"r{number:04d}" for number in range(count)]


def test_runs_share_a_part_until_it_is_full(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling, "FULL_ROWS", 5)
    used = [add(workspace, number).name for number in range(12)]
    assert used == ["r0000.parquet"] * 5 + ["r0005.parquet"] * 5 + ["r0010.parquet"] * 2
    assert plain(workspace.metrics / "runs") == [names(12)] * 4
    chosen = tables.read("runs", workspace, columns=["run_id"], filters=[("test_accuracy", ">", 0.009)])
    assert chosen.to_dict("list") == {"run_id": ["r0010", "r0011"]}
    assert list(integrity.tables(workspace)) == []


def test_part_replaced_by_a_killed_writer_is_intact(workspace: Workspace) -> None:
    """The new checksum is listed before the rename, so either content is what was written."""
    part = add(workspace, 0)
    folder, before = workspace.metrics / "runs", part.read_bytes()
    add(workspace, 1)
    part.write_bytes(before)  # as if the writer had been killed between the list and the rename
    assert tables.read("runs", workspace)["run_id"].tolist() == names(1)
    assert list(integrity.tables(workspace)) == []
    assert add(workspace, 2) == part
    assert tables.read("runs", workspace)["run_id"].tolist() == ["r0000", "r0002"]
    part.write_bytes(before[:-1])
    assert parts.damaged(folder, [part]) == [part]


@pytest.mark.slow
def test_many_small_parts_are_folded_at_the_next_run(workspace: Workspace) -> None:
    folder = one_part_a_run(workspace, 70)
    assert tables.read("runs", workspace)["run_id"].tolist() == names(70)
    damaged = folder / "dataset=digits" / "r0003.parquet"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    add(workspace, 70)
    kept = sorted(path.name for path in (folder / "dataset=digits").iterdir())
    assert kept == ["00-columns.parquet", "r0000 and more 0001.parquet", "r0003.parquet"]
    assert sorted(path.name for path in workspace.metrics.glob("[!.]*")) == ["runs"]
    damaged.write_bytes(content)
    assert list(integrity.tables(workspace)) == []
    assert plain(folder) == [names(71)] * 4
    assert sorted(tables.read("runs", workspace)["run_id"]) == names(71)


@pytest.mark.slow
def test_parts_stay_where_folders_cannot_be_exchanged(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = one_part_a_run(workspace, 66)
    monkeypatch.setattr(folding, "RENAME_EXCHANGE", 1 << 20)  # the kernel refuses: EINVAL
    add(workspace, 66)
    assert len(filling.paths(folder / "dataset=digits")) == 66
    assert plain(folder) == [names(67)] * 4


@pytest.mark.slow
def test_readers_see_each_row_once_while_runs_are_added(workspace: Workspace) -> None:
    """Plumbline's reader and plain ones, while 40 runs are added: always the first runs, each once.

    Polars opens a file more than once. At the moment of a rename it may say that it is not parquet, or panic
    since the file has become shorter than it was.
    """
    add(workspace, 0)
    folder, seen = workspace.metrics / "runs", []
    writer = threading.Thread(target=lambda: [add(workspace, number) for number in range(1, 40)])
    writer.start()
    while writer.is_alive():
        seen.append(sorted(tables.read("runs", workspace)["run_id"]))
        with contextlib.suppress(polars.exceptions.ComputeError, polars.exceptions.PanicException):
            seen += plain(folder)
    writer.join()
    assert all(found == names(len(found)) for found in seen)
    assert len({len(found) for found in seen}) > 2
    assert list(integrity.tables(workspace)) == []


def test_checksum_list_does_not_grow_with_the_runs(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    for number in range(600):
        checksum_list.record(tmp_path, {"a": f"{number:064x}"})
    assert (tmp_path / checksum_list.NAME).read_bytes().count(b"\n") <= checksum_list.MANY_LINES
    listed = checksum_list.read(tmp_path)
    assert (listed.checksums, listed.earlier) == ({"a": f"{599:064x}"}, {"a": f"{598:064x}"})


WRITER = """
import sys
import pandas as pd
from tasks.core.runs import tables
from tasks.core.workspace import Workspace
workspace = Workspace(__import__("pathlib").Path(sys.argv[1]))
for number in range(int(sys.argv[2]), 10_000):
    frame = pd.DataFrame([{"test_accuracy": number / 1000}])
    tables.append("runs", "digits", f"r{number:04d}", frame, workspace)
    print(number, flush=True)
"""


@pytest.mark.stress
def test_writer_killed_at_any_moment_loses_and_repeats_no_row(workspace: Workspace) -> None:
    """60 kills with SIGKILL of a writer that adds, and folds 64 old parts at its first row."""
    kills = 0
    for kill in range(60):
        if kill % 10 == 0:
            shutil.rmtree(workspace.metrics, ignore_errors=True)
            one_part_a_run(workspace, 64)
            done = 64
        command = [sys.executable, "-c", WRITER, str(workspace.root), str(done)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        if kill % 10:
            process.stdout.readline()
        else:
            while not list(workspace.metrics.glob(".runs dataset*")) and process.poll() is None:
                time.sleep(0.0005)
        time.sleep((kill * 7 % 60) / 1000)
        process.send_signal(signal.SIGKILL)
        written = [int(line) for line in process.stdout.read().split()]
        process.wait()
        found = sorted(tables.read("runs", workspace)["run_id"])
        assert found == names(len(found))
        assert len(found) >= max([done, *(number + 1 for number in written)])
        assert plain(workspace.metrics / "runs") == [found] * 4
        done, kills = len(found), kills + 1
    assert kills == 60
