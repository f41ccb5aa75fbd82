"""A CSV of path, label and perhaps split."""

from pathlib import Path

import pandas as pd
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.errors import DataError, UsageError
from tasks.core.workspace import Workspace
from tests.support.sample_files import below, encoded, noise, put


def written(folder: Path, lines: list[str], images: int = 40) -> Path:
    for number in range(images):
        put(folder / "img" / f"{number}.png", encoded(noise(number)))
    return put(folder / "animals.csv", "\n".join(lines).encode())


def lines(split: str = "") -> list[str]:
    return [f"img/{n}.png,{'cat' if n % 2 else 'dog'}" + (f",{split}" if split else "") for n in range(40)]


def test_paths_and_labels(tmp_path: Path, workspace: Workspace) -> None:
    path = written(tmp_path, ["path,label", *lines()])
    handle = acquire.acquire(SourceSettings(str(path)), workspace)
    assert (handle.dataset, handle.format, handle.images) == ("animals", "csv", 40)
    cache = normalize.normalize(handle, NormalizeSettings(val_fraction=0.3), workspace)
    rows = pd.read_parquet(cache.directory / "rows.parquet")
    for row in rows.itertuples():
        assert row.class_name == ("cat" if int(Path(row.path).stem) % 2 else "dog")


def test_splits_quotes_and_a_byte_order_mark(tmp_path: Path, workspace: Workspace) -> None:
    body = [line for n, line in enumerate(lines("train")) if n >= 4]
    body += ['"img/0.png",dog,test', "img/1.png,cat,test", 'img/2.png,"dog",validation', "img/3.png,cat,val"]
    path = written(tmp_path, ["\ufeffpath,label,split", *body])
    cache = normalize.normalize(
        acquire.acquire(SourceSettings(str(path)), workspace), NormalizeSettings(), workspace
    )
    assert (cache.train, cache.val, cache.test) == (36, 2, 2)


def test_the_digest_follows_from_images_and_labels(tmp_path: Path, workspace: Workspace) -> None:
    path = written(tmp_path, ["path,label", *lines()])
    first = acquire.acquire(SourceSettings(str(path)), workspace).digest
    written(
        tmp_path, ["label,path,remark", *(f"{line.split(',')[1]},{line.split(',')[0]},x" for line in lines())]
    )
    assert acquire.acquire(SourceSettings(str(path)), workspace).digest == first
    written(tmp_path, ["path,label", *lines()[:-1], "img/39.png,dog"])
    assert acquire.acquire(SourceSettings(str(path)), workspace).digest != first


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(["image,label", *lines()], "lacks a column", id="no path column"),
        pytest.param([""], "lacks a column", id="empty"),
        pytest.param(
            ["path,label", "img/0.png,dog", "img/999.png,cat"], "line 3, names a file that is not", id="file"
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
        pytest.param(["path,label", "img\0/0.png,dog"], "cannot be read|not there", id="zero byte"),
        pytest.param(["path,label", '"img/0.png,dog'], "cannot be read", id="open quote"),
    ],
)
def test_refused_by_line(tmp_path: Path, workspace: Workspace, content: list[str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        acquire.acquire(SourceSettings(str(written(tmp_path, content, 5))), workspace)
    assert below(workspace.root) == []


def test_another_encoding_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    path = put(tmp_path / "a.csv", "path,label\nbär.png,Bär".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read as a CSV"):
        acquire.acquire(SourceSettings(str(path)), workspace)


def test_a_file_of_another_kind(tmp_path: Path, workspace: Workspace) -> None:
    path = put(tmp_path / "a.txt", b"path,label")
    with pytest.raises(UsageError, match="nothing that images can be read from"):
        acquire.acquire(SourceSettings(str(path)), workspace)
