import os
from pathlib import Path

import fsspec
import pytest

from tasks.core.data.inference import inputs
from tasks.core.data.inference.inputs import IMAGE, ROWS
from tasks.core.errors import DataError, UsageError
from tests.support.sample_files import encoded, noise, parquet, photos, put


def names(root: Path, *places: object) -> list[str]:
    return [os.path.relpath(line.path, root) for line in inputs.list_inputs([str(place) for place in places])]


def test_a_folder_is_gone_through_in_order_and_only_its_images(tmp_path: Path) -> None:
    photos(tmp_path, {"b": 2, "a/deep": 1})
    put(tmp_path / "a" / "note.txt", b"no image")
    put(tmp_path / ".hidden" / "x.png", encoded(noise(1)))
    parquet(tmp_path / "a" / "z.parquet", [0, 1])
    assert names(tmp_path, tmp_path) == ["a/deep/000.png", "a/z.parquet", "b/000.png", "b/001.png"]


def test_globs_match_files_and_folders(tmp_path: Path) -> None:
    photos(tmp_path, {"b": 2, "a/deep": 1})
    assert names(tmp_path, tmp_path / "*" / "*1.png") == ["b/001.png"]
    assert names(tmp_path, tmp_path / "a*") == ["a/deep/000.png"]
    assert names(tmp_path, f"{tmp_path}/**/*.png") == ["a/deep/000.png", "b/000.png", "b/001.png"]
    assert names(tmp_path, tmp_path / "*.bmp") == []


def test_a_parquet_file_is_some_rows_a_line(tmp_path: Path) -> None:
    content = encoded(noise(1, 4, 4))
    count = 2 * ROWS + 5
    path = parquet(tmp_path / "x.parquet", [0] * count, contents=[content] * count, row_group_size=3000)
    lines = list(inputs.list_inputs([str(path)]))
    assert [(line.start, line.images) for line in lines] == [(0, ROWS), (ROWS, ROWS), (2 * ROWS, 5)]
    assert len({line.key for line in lines}) == 3


def test_parquet_needs_no_labels_but_images(tmp_path: Path) -> None:
    parquet(tmp_path / "x.parquet", [0], label="of_no_use")
    assert len(list(inputs.list_inputs([str(tmp_path / "x.parquet")]))) == 1
    broken = put(tmp_path / "broken.parquet", b"PAR1 not parquet")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        list(inputs.list_inputs([str(broken)]))


def test_an_address_is_listed_like_a_folder() -> None:
    files = fsspec.filesystem("memory")
    for name in ("b.png", "a/1.png", "a/note.txt"):
        files.pipe(f"/intake/{name}", encoded(noise(1)))
    found = list(inputs.list_inputs(["memory://intake"]))
    assert [line.path for line in found] == ["memory:///intake/a/1.png", "memory:///intake/b.png"]
    assert {line.start for line in found} == {IMAGE}
    assert [line.path for line in inputs.list_inputs(["memory://intake/*.png"])] == ["memory:///intake/b.png"]


def test_a_changed_file_is_another_line(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", encoded(noise(1)))
    (before,) = inputs.list_inputs([str(path)])
    os.utime(path, ns=(0, 0))
    (after,) = inputs.list_inputs([str(path)])
    assert before.key != after.key


def test_what_is_not_there_is_said_before_anything_starts(tmp_path: Path) -> None:
    inputs.check_inputs([str(tmp_path), f"{tmp_path}/*.png", "s3://somewhere/x"])
    with pytest.raises(UsageError, match="nowhere"):
        inputs.check_inputs([str(tmp_path), str(tmp_path / "nowhere")])
    with pytest.raises(UsageError, match="nowhere"):
        list(inputs.list_inputs(["memory://nowhere"]))
