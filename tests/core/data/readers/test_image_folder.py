from pathlib import Path

import pytest

from tasks.core.data.readers import image_folder
from tasks.core.errors import DataError
from tests.support.sample_files import photos, put


def scanned(root: Path) -> list[tuple[str, str, str]]:
    columns = image_folder.scan(root).select(["path", "split", "class_name"]).columns
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def test_scan_class_folders(tmp_path: Path) -> None:
    photos(tmp_path, {"dog": 1, "cat": 2})
    assert scanned(tmp_path) == [
        ("cat/000.png", "", "cat"),
        ("cat/001.png", "", "cat"),
        ("dog/000.png", "", "dog"),
    ]


def test_scan_split_folders(tmp_path: Path) -> None:
    photos(tmp_path, {"train/a": 1, "train/b": 1, "test/a": 1, "test/b": 1, "val/a": 1, "val/b": 1})
    assert [split for _, split, _ in scanned(tmp_path)] == ["test", "test", "train", "train", "val", "val"]


def test_scan_class_named_like_a_split(tmp_path: Path) -> None:
    """A dataset of vehicles: the folder `train` contains images, so it is a class."""
    photos(tmp_path, {"train": 1, "tram": 1})
    assert [name for _, _, name in scanned(tmp_path)] == ["train", "tram"]


def test_scan_validation_folder_is_val(tmp_path: Path) -> None:
    photos(tmp_path, {"train/a": 1, "train/b": 1, "validation/a": 1, "validation/b": 1})
    assert [(path, split) for path, split, _ in scanned(tmp_path)][2:] == [
        ("validation/a/000.png", "val"),
        ("validation/b/000.png", "val"),
    ]


@pytest.mark.parametrize(
    ("folder", "message"),
    [("holdout", "beside train that is not a split"), ("valid", "two folders for one split")],
)
def test_scan_ambiguous_folder_beside_train_is_refused(tmp_path: Path, folder: str, message: str) -> None:
    """Otherwise `train` and `holdout` would be read as classes."""
    folders = ("train/a", "train/b", "val/a", "val/b", f"{folder}/a", f"{folder}/b")
    photos(tmp_path, dict.fromkeys(folders, 1))
    with pytest.raises(DataError, match=message):
        image_folder.scan(tmp_path)


def test_scan_skipped_files_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    photos(tmp_path, {"a": 1, "b": 1})
    for name in ("a/1.heic", "b/2.HEIC", "b/Makefile"):
        put(tmp_path / name, b"x")
    image_folder.scan(tmp_path)
    assert "2 .heic, 1 without a suffix" in caplog.text


def test_scan_subfolders_and_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    photos(tmp_path, {"a/2023/may": 1, "b": 1})
    put(tmp_path / "b" / "SHOT.JPEG", b"x")
    assert [path for path, _, _ in scanned(tmp_path)] == ["a/2023/may/000.png", "b/000.png", "b/SHOT.JPEG"]


def test_scan_other_files_are_skipped(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 1, "b": 1, ".git": 1, "__MACOSX": 1})
    for name in ("a/Thumbs.db", "a/.hidden.png", "a/noteswithoutsuffix", "readme.txt"):
        put(tmp_path / name, b"x")
    assert [path for path, _, _ in scanned(tmp_path)] == ["a/000.png", "b/000.png"]


def test_scan_symlink_loop_ends(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert len(scanned(tmp_path)) == 2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        pytest.param({}, "has no classes", id="nothing"),
        pytest.param({"cat": 3}, "has only one class", id="one class"),
        pytest.param({"train/a": 1, "train/b": 1, "test/a": 1}, "other classes in test", id="class lacks"),
        pytest.param(
            {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "val/c": 1},
            "other classes in val",
            id="class too many",
        ),
    ],
)
def test_scan_invalid_layout_is_refused(tmp_path: Path, counts: dict[str, int], message: str) -> None:
    photos(tmp_path, counts)
    with pytest.raises(DataError, match=message) as error:
        image_folder.scan(tmp_path)
    assert "unchanged" in error.value.parts["done"]


def test_scan_empty_class_is_refused_by_name(tmp_path: Path) -> None:
    photos(tmp_path, {"cat": 1, "dog": 1})
    (tmp_path / "eel").mkdir()
    with pytest.raises(DataError, match="empty class") as error:
        image_folder.scan(tmp_path)
    assert "eel" in error.value.parts["found"]
