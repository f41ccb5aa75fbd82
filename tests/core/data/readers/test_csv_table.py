"""A CSV with the columns path, label and optionally split."""

from pathlib import Path

import pandas as pd
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers import csv_table
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.errors import DataError, UsageError
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, files_below, noise, photos, put


def write_csv(folder: Path, rows: list[str], images: int = 40) -> Path:
    for number in range(images):
        put(folder / "img" / f"{number}.png", encoded(noise(number)))
    return put(folder / "animals.csv", "\n".join(rows).encode())


def csv_lines(split: str = "") -> list[str]:
    return [f"img/{n}.png,{'cat' if n % 2 else 'dog'}" + (f",{split}" if split else "") for n in range(40)]


def test_csv_paths_and_labels_reach_the_tensors(tmp_path: Path, workspace: Workspace) -> None:
    path = write_csv(tmp_path, ["path,label", *csv_lines()])
    handle = acquire.acquire(SourceSettings(str(path)), workspace)
    assert (handle.dataset, handle.format, handle.images) == ("animals", "csv", 40)
    cache = normalize.normalize(handle, NormalizeSettings(val_fraction=0.3), workspace)
    rows = pd.read_parquet(cache.directory / "rows.parquet")
    for row in rows.itertuples():
        assert row.class_name == ("cat" if int(Path(row.path).stem) % 2 else "dog")


def test_csv_splits_quotes_and_byte_order_mark_are_read(tmp_path: Path, workspace: Workspace) -> None:
    body = [line for n, line in enumerate(csv_lines("train")) if n >= 4]
    body += ['"img/0.png",dog,test', "img/1.png,cat,test", 'img/2.png,"dog",validation', "img/3.png,cat,val"]
    path = write_csv(tmp_path, ["\ufeffpath,label,split", *body])
    cache = normalize.normalize(
        acquire.acquire(SourceSettings(str(path)), workspace), NormalizeSettings(), workspace
    )
    assert (cache.train, cache.val, cache.test) == (36, 2, 2)


def test_csv_digest_depends_on_images_and_labels(tmp_path: Path, workspace: Workspace) -> None:
    path = write_csv(tmp_path, ["path,label", *csv_lines()])
    first = acquire.acquire(SourceSettings(str(path)), workspace).digest
    write_csv(
        tmp_path,
        ["label,path,remark", *(f"{line.split(',')[1]},{line.split(',')[0]},x" for line in csv_lines())],
    )
    assert acquire.acquire(SourceSettings(str(path)), workspace).digest == first
    write_csv(tmp_path, ["path,label", *csv_lines()[:-1], "img/39.png,dog"])
    assert acquire.acquire(SourceSettings(str(path)), workspace).digest != first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(["image,label", *csv_lines()], "lacks a column", id="no path column"),
        pytest.param([""], "lacks a column", id="empty"),
        pytest.param(["path,label"], "has no images", id="first line only"),
        pytest.param(
            ["path,label", "img/0.png,dog", "img/999.png,cat"],
            "line 3, names a file that does not exist",
            id="file",
        ),
        pytest.param(["path,label", "img/0.png,dog", "img/1.png,"], "line 3, has no label", id="label"),
        pytest.param(["path,label", "img/0.png,dog", "img/1.png"], "line 3, has no label", id="short line"),
        pytest.param(
            ["path,label", "img/0.png,dog", "img/0.png,cat"], "line 3, lists img/0.png again", id="twice"
        ),
        pytest.param(["path,label,split", "img/0.png,dog,tset"], "line 2, has an unknown split", id="split"),
        pytest.param(
            ["path,label,split", "img/0.png,dog,train", "img/1.png,cat,"],
            "split in some lines",
            id="some splits",
        ),
        pytest.param(["path,label", "img/0.png,dog", "img/1.png,dog"], "only one class", id="one class"),
        pytest.param(
            ["path,label,split", "img/0.png,dog,train", "img/1.png,cat,train", "img/2.png,dog,test"],
            "other classes in test",
            id="classes",
        ),
        pytest.param(["path,label", "img\0/0.png,dog"], "cannot be read|does not exist", id="zero byte"),
        pytest.param(["path,label", '"img/0.png,dog'], "cannot be read", id="open quote"),
    ],
)
def test_csv_invalid_line_is_refused_by_number(
    tmp_path: Path, workspace: Workspace, content: list[str], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        acquire.acquire(SourceSettings(str(write_csv(tmp_path, content, 5))), workspace)
    assert files_below(workspace.root) == []


@pytest.mark.parametrize(
    ("written", "todo"),
    [
        ("img/0", "to do     write the name as it is there: 0.png"),
        ("img/0.PNG", "to do     write the name as it is there: 0.png"),
        ("img/999.png", "to do     correct the path, or remove the line"),
        ("nowhere/0.png", "to do     correct the path, or remove the line"),
    ],
)
def test_missing_file_is_named_with_where_it_was_looked_for(tmp_path: Path, written: str, todo: str) -> None:
    path = write_csv(tmp_path, ["path,label", f"{written},dog"], 2)
    with pytest.raises(DataError, match="line 2, names a file that does not exist") as error:
        csv_table.scan(path)
    assert f"expected  a file, its path relative to the CSV's folder {tmp_path}" in str(error.value)
    assert todo in str(error.value)


def test_csv_other_encoding_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = put(tmp_path / "a.csv", "path,label\nbär.png,Bär".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read as a CSV"):
        acquire.acquire(SourceSettings(str(path)), workspace)


def test_acquire_unsupported_file_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = put(tmp_path / "a.txt", b"path,label")
    with pytest.raises(UsageError, match="No images can be read from"):
        acquire.acquire(SourceSettings(str(path)), workspace)


def test_absolute_paths_inside_of_the_folder_and_backslashes_are_read(tmp_path: Path) -> None:
    photos(tmp_path, {"x": 2})
    lines = [f"{tmp_path}/x/000.png,cat", r"x\001.png,dog"]
    put(tmp_path / "labels.csv", "\n".join(["path,label", *lines]).encode())
    table = csv_table.scan(tmp_path / "labels.csv")
    assert table["path"].to_pylist() == ["x/000.png", "x/001.png"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/elsewhere/1.png", "line 3, has an absolute path outside of the CSV's folder"),
        (r"C:\photos\1.png", "line 3, has a path of another machine"),
        ("x/\0.png", "line 3 is no text"),
    ],
)
def test_other_paths_are_refused_with_their_line(tmp_path: Path, path: str, message: str) -> None:
    photos(tmp_path, {"x": 1})
    put(tmp_path / "labels.csv", f"path,label\nx/000.png,cat\n{path},dog".encode())
    with pytest.raises(DataError, match=message) as error:
        csv_table.scan(tmp_path / "labels.csv")
    assert str(error.value).count(str(tmp_path)) <= 2


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8"), ("\t", "utf-16"), (",", "utf-8-sig")])
def test_columns_are_known_in_any_case_separator_and_encoding(
    tmp_path: Path, separator: str, encoding: str
) -> None:
    lines = ["Path, LABEL ,Split", *csv_lines("train")[4:], *csv_lines("test")[:4]]
    path = write_csv(tmp_path, [])
    path.write_bytes("\n".join(lines).replace(",", separator).encode(encoding))
    assert csv_table.scan(path)["split"].to_pylist().count("test") == 4


def test_column_of_splits_by_another_name_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [f"{line},{'train' if number else 'valid'}" for number, line in enumerate(csv_lines())]
    table = csv_table.scan(write_csv(tmp_path, ["path,label,subset", *lines]))
    assert set(table["split"].to_pylist()) == {""}
    assert "the column subset has train, valid, but is not called split" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("img/../img/0.png", "line 3, lists img/0.png again"),
        ("img", "line 3, names no image: img"),
        ("https://host/0.png", "line 3, has an address"),
    ],
)
def test_paths_that_are_no_image_of_their_own_are_refused(tmp_path: Path, name: str, message: str) -> None:
    path = write_csv(tmp_path, ["path,label", "img/0.png,dog", f"{name},cat"])
    with pytest.raises(DataError, match=message):
        csv_table.scan(path)


def test_bytes_of_another_encoding_are_named(tmp_path: Path) -> None:
    path = put(tmp_path / "x.csv", "path,label\nimg/0.png,Käfer".encode("latin-1"))
    with pytest.raises(DataError, match="line 2 is not in UTF-8"):
        csv_table.scan(path)
