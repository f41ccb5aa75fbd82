"""Columns of parquet files: splits, labels of any type, and what is refused of them."""

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.config import SourceSettings
from tasks.core.data.files import listing
from tasks.core.data.readers.parquet.file import ParquetFile
from tasks.core.data.readers.parquet.reader import ParquetReader
from tasks.core.data.sources import acquire
from tasks.core.errors import DataError
from tasks.core.storage.hashing import sha256_file
from tasks.core.workspace import Workspace
from tests.core.data.readers.test_parquet import normalized
from tests.support.sample_files import encoded, noise


def table(path: Path, **columns: pa.Array) -> Path:
    """A file of 30 images of noise with these columns."""
    images = pa.array([{"bytes": encoded(noise(number)), "path": ""} for number in range(30)])
    pq.write_table(pa.table({"image": images} | columns), path)
    return path


def test_column_split_divides_the_images(tmp_path: Path, workspace: Workspace) -> None:
    splits = ["Train", "train", "train", "validation", "test"] * 6
    labels = pa.array(["cat"] * 15 + ["dog"] * 15)
    cache = normalized(table(tmp_path / "x.parquet", label=labels, Split=pa.array(splits)), workspace)
    rows = pd.read_parquet(cache.directory / "rows.parquet")
    assert rows["split"].value_counts().to_dict() == {"train": 18, "val": 6, "test": 6}
    for row in rows.itertuples():
        assert splits[int(row.path.split("#")[1])].lower().startswith(row.split)
    assert not [name for name in rows if name.startswith("attribute")]


def test_column_split_of_class_labels_has_their_names(tmp_path: Path) -> None:
    path = table(
        tmp_path / "x.parquet", label=pa.array(["cat", "dog"] * 15), split=pa.array([0] * 20 + [1] * 10)
    )
    features = {"split": {"_type": "ClassLabel", "names": ["train", "test"]}}
    read = pq.read_table(path)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(read.replace_schema_metadata(metadata), path)
    assert ParquetFile(path, "").splits() == ["train"] * 20 + ["test"] * 10
    assert ParquetFile(path, "val").splits() == ["val"] * 30


@pytest.mark.parametrize(
    ("splits", "message"),
    [(["train", "tset"], "unknown split"), (["train", None], "split in some rows only")],
)
def test_column_split_that_is_not_clear_is_refused(
    tmp_path: Path, splits: list[str | None], message: str
) -> None:
    labels = pa.array(["cat"] * 15 + ["dog"] * 15)
    path = table(tmp_path / "x.parquet", label=labels, split=pa.array(splits * 15))
    with pytest.raises(DataError, match=message):
        ParquetReader(tmp_path, listing.table([listing.ListedFile(path.name, 1, sha256_file(path))]))


def test_columns_with_a_meaning_are_found_in_any_case(tmp_path: Path, workspace: Workspace) -> None:
    groups = pa.array([f"p{number % 15}" for number in range(30)])
    path = table(tmp_path / "x.parquet", Label=pa.array(["cat", "dog"] * 15), Group=groups)
    rows = pd.read_parquet(normalized(path, workspace).directory / "rows.parquet")
    assert set(rows["class_name"]) == {"cat", "dog"}
    assert [int(name[1:]) for name in rows["group"]] == [int(p.split("#")[1]) % 15 for p in rows["path"]]
    assert rows.groupby("group")["split"].nunique().eq(1).all()


@pytest.mark.parametrize(
    "column",
    [
        {"group": pa.array([[1], [2]] * 15)},
        {"Group": pa.array(range(30)).cast(pa.timestamp("s"))},
        {"split": pa.array([["train"], ["test"]] * 15)},
    ],
)
def test_column_of_splits_or_groups_of_another_type_is_refused(
    tmp_path: Path, column: dict[str, pa.Array]
) -> None:
    path = table(tmp_path / "x.parquet", label=pa.array(["cat", "dog"] * 15), **column)
    with pytest.raises(DataError, match=f"has a column {next(iter(column))} that is not used"):
        ParquetFile(path, "")


def test_warning_of_a_column_of_splits_names_the_file(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    labels, parts = pa.array(["cat", "dog"] * 15), pa.array(["train", "test", "test"] * 10)
    path = table(tmp_path / "x.parquet", label=labels, part=parts)
    normalized(path, workspace)
    assert f"{path}: the column part has test, train, but is not called split" in caplog.text


def test_source_without_train_images_is_refused_before_any_is_decoded(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    labels, splits = pa.array(["cat", "dog"] * 15), pa.array(["val", "test", "test"] * 10)
    with pytest.raises(DataError, match="none for train"):
        normalized(table(tmp_path / "x.parquet", label=labels, split=splits), workspace)
    assert "images differ in size" not in caplog.text


def test_two_columns_of_one_name_in_other_case_are_refused(tmp_path: Path) -> None:
    labels = pa.array(["cat", "dog"] * 15)
    with pytest.raises(DataError, match=r"columns of one name(.|\n)*Label, label"):
        ParquetFile(table(tmp_path / "x.parquet", label=labels, Label=labels), "")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pa.array(["cat", "dog"] * 15, pa.string_view()), ("cat", "dog")),
        (pa.array([True, False] * 15), ("false", "true")),
        (pa.array([None, 3.0, float("nan"), 10.0, 3.0] * 6), ("3", "10")),
        (pa.array(["", " ", "cat", "dog", None] * 6), ("cat", "dog")),
        (pa.array([-1, 0, 1] * 10, pa.int8()), ("0", "1")),
    ],
)
def test_labels_of_other_types_are_classes(tmp_path: Path, values: pa.Array, names: tuple[str, ...]) -> None:
    path = table(tmp_path / "x.parquet", label=values)
    files = listing.table([listing.ListedFile(path.name, 1, sha256_file(path))])
    assert ParquetReader(tmp_path, files).classes == names


def test_labels_with_fractions_and_rows_without_bytes_are_named(tmp_path: Path, workspace: Workspace) -> None:
    path = table(tmp_path / "x.parquet", label=pa.array([0.5, 1.0] * 15))
    with pytest.raises(DataError, match=r"labels that are no classes(.|\n)*0\.5"):
        acquire.acquire(SourceSettings(str(path)), workspace)
    paths = pa.array([{"bytes": None, "path": "1.png"}] * 30)
    path = table(
        tmp_path / "y.parquet",
        image=paths.cast(pa.struct({"bytes": pa.binary(), "path": "string"})),
        label=pa.array(["cat", "dog"] * 15),
    )
    with pytest.raises(DataError, match="no bytes in this row"):
        normalized(path, workspace)
