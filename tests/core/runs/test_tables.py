import multiprocessing
from pathlib import Path

import duckdb
import pandas as pd
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import UsageError
from tasks.core.runs import tables
from tasks.core.runs.columns import schemas
from tasks.core.runs.table_files import parts
from tasks.core.workspace import Workspace


def row(**values: object) -> pd.DataFrame:
    return pd.DataFrame([values])


def test_read_returns_appended_rows(workspace: Workspace) -> None:
    started = pd.Timestamp("2026-01-02T03:04:05Z")
    tables.append(
        "runs", "digits", "r1", row(test_accuracy=0.9, started=started, promoted=True, seed=3), workspace
    )
    tables.append("runs", "photos", "r2", row(test_accuracy=0.8), workspace)
    table = tables.read("runs", workspace)
    assert list(table.columns) == ["dataset", *schemas.SCHEMAS["runs"].names]
    assert table[["dataset", "run_id", "test_accuracy"]].to_numpy().tolist() == [
        ["digits", "r1", 0.9],
        ["photos", "r2", 0.8],
    ]
    assert table["started"][0] == started
    assert tables.read("runs", workspace, "photos")["run_id"].tolist() == ["r2"]


def test_read_empty_table_has_all_columns(workspace: Workspace) -> None:
    table = tables.read("predictions", workspace)
    assert table.empty
    assert list(table.columns) == ["dataset", *schemas.SCHEMAS["predictions"].names]


def test_read_older_parts_without_a_column_give_null(workspace: Workspace) -> None:
    schema = schemas.SCHEMAS["runs"]
    old_schema = schema.remove(schema.get_field_index("device")).remove(schema.get_field_index("verdict"))
    part = workspace.metrics / "runs" / "dataset=a-first" / "r1.parquet"
    part.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([{"run_id": "r1", "test_accuracy": 0.5}], old_schema), part)
    tables.append("runs", "b-second", "r2", row(test_accuracy=0.7, device="cpu", verdict="better"), workspace)
    table = pd.read_parquet(workspace.metrics / "runs").set_index("run_id")
    assert table.loc["r2", "device"] == "cpu"
    assert pd.isna(table.loc["r1", "device"])
    assert table["dataset"].to_dict() == {"r1": "a-first", "r2": "b-second"}
    assert tables.read("runs", workspace).set_index("run_id").loc["r2", "verdict"] == "better"


def test_table_is_readable_by_duckdb_and_polars(workspace: Workspace) -> None:
    tables.append("runs", "digits", "r1", row(test_accuracy=0.9), workspace)
    tables.append("runs", "digits", "r2", row(test_accuracy=0.8), workspace)
    parts = f"{workspace.metrics}/runs/*/*.parquet"
    best = duckdb.sql(f"select dataset, max(test_accuracy) from '{parts}' group by dataset").fetchall()
    assert best == [("digits", 0.9)]
    assert polars.read_parquet(parts, hive_partitioning=True)["dataset"].to_list() == ["digits", "digits"]


def test_append_existing_part_with_other_content_raises(workspace: Workspace) -> None:
    part = tables.append("runs", "digits", "r1", row(test_accuracy=0.9), workspace)
    assert tables.append("runs", "digits", "r1", row(test_accuracy=0.9), workspace) == part
    with pytest.raises(UsageError, match="already with other content"):
        tables.append("runs", "digits", "r1", row(test_accuracy=0.8), workspace)
    assert tables.read("runs", workspace)["test_accuracy"].tolist() == [0.9]


@pytest.mark.parametrize("name", ["2024", "mein bild%er=x ü", "a/b", "1e5"])
def test_append_any_dataset_name_is_read_back(workspace: Workspace, name: str) -> None:
    tables.append("runs", name, "r1", row(test_accuracy=0.9), workspace)
    assert tables.read("runs", workspace)["dataset"].tolist() == [name]
    assert len(list((workspace.metrics / "runs").glob("dataset=*/r1.parquet"))) == 1


@pytest.mark.parametrize(
    ("frame", "run_id", "message"),
    [
        (row(acuracy=0.9), "r1", "no such column"),
        (row(test_accuracy="high"), "r1", "doesn't fit its column test_accuracy"),
        (row(test_accuracy=0.9), "../r1", "usable as a file name"),
        (row(test_accuracy=0.9), ".r1", "usable as a file name"),
        (row(test_accuracy=0.9), "", "usable as a file name"),
    ],
)
def test_append_invalid_rows_or_run_id_raises(
    workspace: Workspace, frame: pd.DataFrame, run_id: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        tables.append("runs", "digits", run_id, frame, workspace)
    assert list(workspace.root.rglob("*.parquet")) == []


def test_append_probability_vectors_are_read_back(workspace: Workspace) -> None:
    frame = pd.DataFrame({"probabilities": [[0.25, 0.75], [1.0, 0.0]], "label": [1, 0]})
    tables.append("predictions", "digits", "r1", frame, workspace)
    table = tables.read("predictions", workspace)
    assert [list(vector) for vector in table["probabilities"]] == [[0.25, 0.75], [1.0, 0.0]]


def test_only_columns_that_repeat_keep_a_dictionary(tmp_path: Path) -> None:
    """One of 15,000 different values takes ten times its memory to write."""
    count = 4000
    content = pa.table(
        {
            "name": pa.array(["cat", "dog"] * (count // 2)),
            "id": pa.array([f"{number:064}" for number in range(count)]),
            "loss": pa.array([float(number) for number in range(count)]),
            "probabilities": pa.array([[0.5, number / count] for number in range(count)]),
        }
    )
    parts.write_file(tmp_path / "part.parquet", content)
    assert pq.read_table(tmp_path / "part.parquet").equals(content)
    group = pq.ParquetFile(tmp_path / "part.parquet").metadata.row_group(0)
    columns = {group.column(number).path_in_schema: group.column(number) for number in range(4)}
    has_dictionary = {name: column.has_dictionary_page for name, column in columns.items()}
    assert has_dictionary.pop("name")
    assert columns["id"].total_uncompressed_size < count * 75  # the dictionary was given up early
    del has_dictionary["id"]
    assert not any(has_dictionary.values())


def test_append_part_has_the_schema_version(workspace: Workspace) -> None:
    part = tables.append("runs", "digits", "r1", row(test_accuracy=0.9), workspace)
    schema = pq.read_schema(part)
    assert schema.metadata[b"plumbline_schema"] == b"2"
    assert schema.field("test_accuracy").type == pa.float64()


def _append(root: Path, number: int) -> None:
    tables.append("runs", "digits", f"r{number}", row(test_accuracy=number / 100), Workspace(root))


@pytest.mark.slow
def test_append_parallel_writers_lose_no_row(workspace: Workspace) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_append, [(workspace.root, number) for number in range(12)])
    assert sorted(tables.read("runs", workspace)["test_accuracy"]) == [number / 100 for number in range(12)]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "truncate"])
def test_read_leaves_out_a_damaged_part_and_names_it(
    workspace: Workspace, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = tables.append("runs", "digits", "r1", row(test_accuracy=0.9), workspace)
    tables.append("runs", "photos", "r2", row(test_accuracy=0.8), workspace)
    content = first.read_bytes()
    flipped = bytes([*content[:50], content[50] ^ 1, *content[51:]])
    first.write_bytes(flipped if damage == "flip" else content[: len(content) // 2])
    assert tables.read("runs", workspace)["run_id"].tolist() == ["r2"]
    assert f"{first} is damaged" in caplog.text
    tables.append("runs", "digits", "r3", row(test_accuracy=0.7), workspace)
    assert tables.read("runs", workspace)["run_id"].tolist() == ["r3", "r2"]


def test_damaged_file_of_all_columns_is_written_again(workspace: Workspace) -> None:
    tables.append("runs", "digits", "r1", row(test_accuracy=0.9), workspace)
    path = workspace.metrics / "runs" / "dataset=digits" / parts.COLUMNS_FILE
    path.write_bytes(path.read_bytes()[:100])
    assert tables.read("runs", workspace)["run_id"].tolist() == ["r1"]
    tables.append("runs", "digits", "r2", row(test_accuracy=0.8), workspace)
    assert pq.read_schema(path).names == schemas.SCHEMAS["runs"].names
    assert len(pd.read_parquet(workspace.metrics / "runs")) == 2
