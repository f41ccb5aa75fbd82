import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.data.inference import inputs
from tasks.core.data.inference.inputs import IMAGE, ROWS
from tasks.core.errors import DataError, UsageError
from tests.support.sample_files import encoded, noise, parquet, photos, put


def names(root: Path, *paths: object) -> list[str]:
    return [os.path.relpath(chunk.path, root) for chunk in inputs.list_inputs([str(path) for path in paths])]


def test_list_inputs_folder_lists_images_in_order(tmp_path: Path) -> None:
    photos(tmp_path, {"b": 2, "a/deep": 1})
    put(tmp_path / "a" / "note.txt", b"no image")
    put(tmp_path / ".hidden" / "x.png", encoded(noise(1)))
    parquet(tmp_path / "a" / "z.parquet", [0, 1])
    assert names(tmp_path, tmp_path) == ["a/deep/000.png", "a/z.parquet", "b/000.png", "b/001.png"]


def test_list_inputs_names_what_is_no_image(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 1, ".trash": 1})
    put(tmp_path / "a" / "IMG_1", encoded(noise(1)))
    for name, content in {
        **{"a/IMG_2.HEIC": b"judged when it is decoded", "a/clip.mov": b"\0\0\0\x14ftypqt  \0\0\0\0"},
        **{"a/.DS_Store": b"x", "a/Thumbs.db": b"x", "a/._000.png": b"x", ".hidden.parquet": b"PAR1"},
    }.items():
        put(tmp_path / name, content)
    unused: dict[str, str] = {}
    listed = inputs.list_inputs([str(tmp_path)], unused.__setitem__)
    assert [os.path.relpath(chunk.path, tmp_path) for chunk in listed] == [
        *("a/000.png", "a/IMG_1", "a/IMG_2.HEIC")
    ]
    assert {os.path.relpath(path, tmp_path): reason.partition(":")[0] for path, reason in unused.items()} == {
        **{
            ".hidden.parquet": "hidden",
            ".trash": "a hidden or system folder",
            "a/clip.mov": "a video (QuickTime)",
        },
        **{"a/.DS_Store": "a system file of macOS", "a/._000.png": "a system file of macOS"},
        "a/Thumbs.db": "a system file of Windows",
    }
    globbed = inputs.list_inputs([f"{tmp_path}/a/*"], unused.__setitem__)
    assert [Path(chunk.path).name for chunk in globbed] == ["000.png", "IMG_1", "IMG_2.HEIC"]


def test_list_inputs_does_not_read_its_own_rows(tmp_path: Path) -> None:
    """`plumbline predict .` twice: the rows of the first time are in ./predictions."""
    put(tmp_path / "a.png", encoded(noise(1)))
    put(tmp_path / "predictions" / ".lock", b"")
    put(tmp_path / "predictions" / "batch=1" / "part-00000.parquet", b"PAR1")
    unused: list[str] = []
    listed = list(inputs.list_inputs([str(tmp_path)], lambda path, _: unused.append(path)))
    assert [chunk.path for chunk in listed] == [str(tmp_path / "a.png")]
    assert unused == [f"{tmp_path}/predictions/"]


def test_list_inputs_leaves_out_names_that_are_not_utf8(tmp_path: Path) -> None:
    put(tmp_path / "a.png", encoded(noise(1)))
    for name in (b"\xff.png", b"\xff.txt"):
        try:
            Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"x")
        except OSError:
            pytest.skip("a file system that takes UTF-8 only")
    unused: dict[str, str] = {}
    (chunk,) = inputs.list_inputs([str(tmp_path)], unused.__setitem__)
    assert chunk.key > 0
    assert unused[f"{tmp_path}/\\xff.png"] == "a name that is not UTF-8: rename it"
    assert len(unused) == 2


def test_parquet_without_images_is_refused_and_no_labels_are_asked_for(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "shots.parquet")
    with pytest.raises(DataError, match="has no clear column of images") as refused:
        list(inputs.list_inputs([str(tmp_path / "shots.parquet")]))
    assert "label" not in str(refused.value)


def test_an_input_that_is_not_there_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # as a worker runs in the deployment's folder
    with pytest.raises(UsageError) as refused:
        inputs.check_inputs(["./new-photos"])
    assert refused.value.parts["found"] == f"nothing at {tmp_path / 'new-photos'}"


def test_list_inputs_glob_matches_files_and_folders(tmp_path: Path) -> None:
    photos(tmp_path, {"b": 2, "a/deep": 1})
    assert names(tmp_path, tmp_path / "*" / "*1.png") == ["b/001.png"]
    assert names(tmp_path, tmp_path / "a*") == ["a/deep/000.png"]
    assert names(tmp_path, f"{tmp_path}/**/*.png") == ["a/deep/000.png", "b/000.png", "b/001.png"]
    with pytest.raises(UsageError, match="nothing matches"):
        names(tmp_path, tmp_path / "*.bmp")


def test_list_inputs_glob_names_what_is_no_regular_file(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 1})
    for name, target in {"gone.png": "nowhere.png", "circle.png": "circle.png"}.items():
        (tmp_path / "a" / name).symlink_to(target)
    unused: list[str] = []
    listed = list(inputs.list_inputs([f"{tmp_path}/a/*.png"], lambda path, _: unused.append(path)))
    assert [Path(file.path).name for file in listed] == ["000.png"]
    assert [Path(path).name for path in unused] == ["circle.png", "gone.png"]


def test_list_inputs_parquet_file_is_split_into_chunks(tmp_path: Path) -> None:
    content = encoded(noise(1, 4, 4))
    count = 2 * ROWS + 5
    path = parquet(tmp_path / "x.parquet", [0] * count, contents=[content] * count, row_group_size=3000)
    chunks = list(inputs.list_inputs([str(path)]))
    assert [(chunk.start, chunk.images) for chunk in chunks] == [(0, ROWS), (ROWS, ROWS), (2 * ROWS, 5)]
    assert len({chunk.key for chunk in chunks}) == 3


def test_list_inputs_parquet_needs_images_but_no_labels(tmp_path: Path) -> None:
    parquet(tmp_path / "x.parquet", [0], label="of_no_use")
    assert len(list(inputs.list_inputs([str(tmp_path / "x.parquet")]))) == 1
    broken = put(tmp_path / "broken.parquet", b"PAR1 not parquet")
    with pytest.raises(DataError, match=r"broken\.parquet"):
        list(inputs.list_inputs([str(broken)]))


def test_list_inputs_address_is_listed_like_a_folder() -> None:
    files = fsspec.filesystem("memory")
    for name in ("b.png", "a/1.png", "a/photo"):
        files.pipe(f"/inputs/{name}", encoded(noise(1)))
    files.pipe("/inputs/a/note.txt", b"a note that is longer than the bytes that are looked at")
    unused: list[tuple[str, str]] = []
    chunks = list(inputs.list_inputs(["memory://inputs"], lambda *file: unused.append(file)))
    assert [chunk.path for chunk in chunks] == [
        *("memory:///inputs/a/1.png", "memory:///inputs/a/photo", "memory:///inputs/b.png")
    ]
    assert unused == [("memory:///inputs/a/note.txt", "a text: not an image")]
    assert {chunk.start for chunk in chunks} == {IMAGE}
    assert [chunk.path for chunk in inputs.list_inputs(["memory://inputs/*.png"])] == [
        "memory:///inputs/b.png"
    ]


def test_list_inputs_changed_file_has_another_key(tmp_path: Path) -> None:
    path = put(tmp_path / "a.png", encoded(noise(1)))
    (before,) = inputs.list_inputs([str(path)])
    os.utime(path, ns=(0, 0))
    (after,) = inputs.list_inputs([str(path)])
    assert before.key != after.key


@pytest.mark.parametrize(("name", "todo"), [("a.csv", "name the images"), ("A.ZIP", "unpack it")])
def test_what_only_train_reads_is_refused(tmp_path: Path, name: str, todo: str) -> None:
    put(tmp_path / name, b"path,label\n")
    with pytest.raises(UsageError, match="is no image") as error:
        inputs.check_inputs([str(tmp_path / name)])
    assert todo in str(error.value)
    (tmp_path / "folder.csv").mkdir()
    inputs.check_inputs([str(tmp_path / "folder.csv"), str(tmp_path)])


def test_check_inputs_missing_input_raises(tmp_path: Path) -> None:
    put(tmp_path / "a.png", b"x")
    inputs.check_inputs([str(tmp_path), f"{tmp_path}/*.png", "s3://somewhere/x"])
    with pytest.raises(UsageError, match=r"nothing matches .*\.jpg"):
        inputs.check_inputs([f"{tmp_path}/*.jpg"])
    with pytest.raises(UsageError, match="no images are named"):
        inputs.check_inputs([])
    with pytest.raises(UsageError, match="nowhere"):
        inputs.check_inputs([str(tmp_path), str(tmp_path / "nowhere")])
    with pytest.raises(UsageError, match="nowhere"):
        list(inputs.list_inputs(["memory://nowhere"]))
