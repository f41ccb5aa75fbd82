import os
from pathlib import Path

import pytest

from tasks.core.data.block_decoder import library
from tasks.core.data.readers.image_folder import folders
from tasks.core.data.sources import resolve
from tasks.core.errors import DataError
from tests.support.sample_files import encoded, noise, photos, put


def scanned(root: Path) -> list[tuple[str, str, str]]:
    rows = folders.scan(root).to_pylist()
    return [(row["path"], row["split"], row["class_name"]) for row in rows if not row["reason"]]


def unused(root: Path) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in folders.scan(root).to_pylist() if row["reason"]}


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
    names = ("train/a", "train/b", "val/a", "val/b", f"{folder}/a", f"{folder}/b")
    photos(tmp_path, dict.fromkeys(names, 1))
    with pytest.raises(DataError, match=message):
        folders.scan(tmp_path)


def test_scan_other_suffixes_are_judged_by_their_bytes(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 1, "b": 1})
    png = encoded(noise(7))
    for name, content in {
        **{"a/IMG_1": png, "a/IMG_2.image": png, "b/scan.dng": b"II*\0\x08\0\0\0"},
        **{"a/notes.txt": b"Caf\xc3\xa9", "b/clip.MOV": b"\0\0\0\x14ftypqt  \0\0\0\0qt  "},
        **{"a/clip.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "b/data": b"\1\2\3", "b/none": b""},
    }.items():
        put(tmp_path / name, content)
    assert [path for path, _, _ in scanned(tmp_path)] == [
        *("a/000.png", "a/IMG_1", "a/IMG_2.image", "b/000.png", "b/scan.dng")
    ]
    assert unused(tmp_path) == {
        "a/clip.mp4": "a video (MP4): not an image",
        "a/notes.txt": "a text: not an image",
        "b/clip.MOV": "a video (QuickTime): not an image",
        "b/data": "of an unknown type: not an image",
        "b/none": "an empty file: not an image",
    }


def test_scan_image_suffixes_are_not_opened(tmp_path: Path) -> None:
    """A million files are not opened to be listed: decoding judges them."""
    photos(tmp_path, {"a": 1, "b": 1})
    suffixes = ["HEIC", "heif", "avif", "jxl", "jp2", "j2k", "mpo", "jfif", "jpe", "ppm"]
    for suffix in suffixes:
        put(tmp_path / "a" / f"x.{suffix}", b"no image")
    assert [path for path, _, _ in scanned(tmp_path)] == sorted(
        ["a/000.png", "b/000.png", *(f"a/x.{suffix}" for suffix in suffixes)]
    )
    assert unused(tmp_path) == {}


def test_scan_subfolders_and_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    photos(tmp_path, {"a/2023/may": 1, "b": 1})
    put(tmp_path / "b" / "SHOT.JPEG", b"x")
    assert [path for path, _, _ in scanned(tmp_path)] == ["a/2023/may/000.png", "b/000.png", "b/SHOT.JPEG"]


def test_scan_system_and_hidden_files_are_named(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 1, "b": 1, ".git": 1, "__MACOSX": 1, "a/.thumbnails": 1})
    for name in ("a/Thumbs.db", "a/.hidden.png", "b/.DS_Store", "b/._000.png", "desktop.ini"):
        put(tmp_path / name, b"x")
    put(tmp_path / "b" / "fork", b"\0\x05\x16\x07\0\2\0\0Mac OS X")
    assert [path for path, _, _ in scanned(tmp_path)] == ["a/000.png", "b/000.png"]
    hidden = "hidden: its name begins with a dot; rename it if it is an image"
    assert unused(tmp_path) == {
        **dict.fromkeys(
            (".git/", "__MACOSX/", "a/.thumbnails/"), "a hidden or system folder: it was not searched"
        ),
        **dict.fromkeys(("a/Thumbs.db", "desktop.ini"), "a system file of Windows: not an image"),
        **dict.fromkeys(("b/.DS_Store", "b/._000.png", "b/fork"), "a system file of macOS: not an image"),
        "a/.hidden.png": hidden,
    }


@pytest.mark.parametrize("layout", [("a", "b"), ("train/a", "train/b", "val/a", "val/b")])
def test_scan_images_outside_the_classes_are_named(tmp_path: Path, layout: tuple[str, ...]) -> None:
    photos(tmp_path, dict.fromkeys(layout, 1))
    put(tmp_path / "top.png", encoded(noise(1)))
    put(tmp_path / "labels.csv", b"path,label")
    if "/" in layout[0]:
        put(tmp_path / "val" / "between.png", encoded(noise(1)))
    outside = "in no class folder: move it into one if it is an image of a class"
    expected = {"labels.csv": "a text: not an image", "top.png": outside}
    if "/" in layout[0]:
        expected["val/between.png"] = outside
    assert unused(tmp_path) == expected
    assert len(scanned(tmp_path)) == len(layout)


def test_scan_class_with_other_files_only_is_empty(tmp_path: Path) -> None:
    photos(tmp_path, {"cat": 1, "dog": 1})
    put(tmp_path / "eel" / "clip.mp4", b"\0\0\0\x18ftypmp42")
    with pytest.raises(DataError, match="empty class"):
        folders.scan(tmp_path)


def test_scan_links_without_a_file_are_named(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    reason = "not a regular file: a broken link, a link to a folder, or a device"
    assert unused(tmp_path) == {"a/again": reason, "a/gone.png": reason}


@pytest.mark.parametrize("top", ["", "train/"])
def test_scan_links_that_lead_nowhere_or_in_a_circle_are_named(tmp_path: Path, top: str) -> None:
    """`os.DirEntry.is_file` raises for a link to itself, below a file, and of too long a name."""
    photos(tmp_path, {f"{top}a": 1, f"{top}b": 1})
    targets = {"circle.png": "circle.png", "below.png": "000.png/x", "long.png": "x" * 300}
    for folder in (tmp_path, tmp_path / top / "a"):
        for name, target in targets.items():
            (folder / name).symlink_to(target)
    assert resolve.detect_format(tmp_path) == "folder"
    folders.check_layout(tmp_path)
    assert set(unused(tmp_path)) == {f"{folder}{name}" for folder in ("", f"{top}a/") for name in targets}
    assert len(scanned(tmp_path)) == 2


def test_scan_other_file_with_a_name_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    photos(tmp_path, {"a": 1, "b": 1})
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/caf\xe9.txt")).write_text("a note", encoding="utf-8")
    assert unused(tmp_path) == {r"a/caf\xe9.txt": "a text: not an image"}


@pytest.mark.parametrize("folder", ["", "train/"])
def test_class_whose_name_is_not_utf8_is_refused(tmp_path: Path, folder: str) -> None:
    """As in a zip that an older Windows made: its names are in Latin-1."""
    photos(tmp_path, {f"{folder}a": 2, f"{folder}{os.fsdecode(b'caf' + bytes([0xE9]))}": 2})
    for look in (folders.scan, folders.check_layout):
        with pytest.raises(DataError, match="folder whose name is not UTF-8") as caught:
            look(tmp_path)
        assert caught.value.parts["found"] == repr(f"{folder}caf".encode() + b"\xe9/")


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
        folders.scan(tmp_path)
    assert "unchanged" in error.value.parts["done"]


def test_scan_empty_class_is_refused_by_name(tmp_path: Path) -> None:
    photos(tmp_path, {"cat": 1, "dog": 1})
    (tmp_path / "eel").mkdir()
    with pytest.raises(DataError, match="empty class") as error:
        folders.scan(tmp_path)
    assert "eel" in error.value.parts["found"]


@pytest.mark.parametrize("names", [["a.jpg", "b.jpg"], ["a.jpg", "notes.txt"]], ids=["plain", "mixed"])
def test_scan_takes_times_that_no_64_bits_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
) -> None:
    """A camera's clock in the year 2445: nanoseconds since 1970 end in 2262. With and without C, alike."""
    for folder in ("cat", "dog"):
        for name in names:
            path = put(tmp_path / folder / name, encoded(noise(0)))
            os.utime(path, (0, 15_000_000_000))
    found = []
    for value in ("", library.OFF):
        monkeypatch.setenv(library.VARIABLE, value)
        library.load.cache_clear()
        found.append(folders.scan(tmp_path))
    library.load.cache_clear()
    assert found[0].equals(found[1])
    assert min(found[0]["mtime_ns"].to_pylist()) > 2_000_000_000_000_000_000


def test_folders_of_systems_are_not_searched(tmp_path: Path) -> None:
    """Synology's thumbnails would be near copies of the photos, in any split."""
    photos(tmp_path, {"cat": 1, "dog": 1, "cat/@eaDir/000.png": 1, "$RECYCLE.BIN": 1, "lost+found": 0})
    assert [path for path, _, _ in scanned(tmp_path)] == ["cat/000.png", "dog/000.png"]
    assert {*unused(tmp_path)} >= {"cat/@eaDir/", "$RECYCLE.BIN/"}


@pytest.mark.parametrize(("inner", "is_said"), [("cat", True), ("cow", False)])
def test_classes_with_equal_folders_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, inner: str, is_said: bool
) -> None:
    photos(tmp_path, {"photo/cat": 1, "photo/dog": 1, f"sketch/{inner}": 1, "sketch/dog": 1})
    folders.scan(tmp_path)
    assert ("classes are photo, sketch, and each has the folders cat, dog" in caplog.text) == is_said


def test_folder_without_folders_says_what_is_there(tmp_path: Path) -> None:
    put(tmp_path / "images.parquet.part", b"x")
    with pytest.raises(DataError, match=r"no folder of images, but images\.parquet\.part"):
        folders.scan(tmp_path)


def test_classes_of_one_split_are_named_with_it(tmp_path: Path) -> None:
    photos(tmp_path, dict.fromkeys(("train/cat", "train/dog", "train/owl", "test/cat", "test/dog"), 1))
    with pytest.raises(DataError, match="only in train: owl"):
        folders.scan(tmp_path)


def test_workspace_and_predictions_in_the_folder_are_no_classes(tmp_path: Path) -> None:
    """`cd photos`, then `plumbline train --dataset .` and `plumbline predict new`."""
    photos(tmp_path, {"cat": 1, "dog": 1, "workspace/reports": 1, "predictions/batch=1": 1})
    photos(tmp_path, {"cat/out/batch=2": 1})
    put(tmp_path / "workspace" / ".running" / "pets.lock", b"")
    for folder in ("predictions", "cat/out"):
        put(tmp_path / folder / ".lock", b"")
    assert [path for path, _, _ in scanned(tmp_path)] == ["cat/000.png", "dog/000.png"]
    assert {*unused(tmp_path)} == {"workspace/", "predictions/", "cat/out/"}


def test_a_class_with_a_lock_of_another_program_is_searched(tmp_path: Path) -> None:
    photos(tmp_path, {"cat": 1, "dog": 1})
    put(tmp_path / "cat" / ".lock", b"")
    assert [path for path, _, _ in scanned(tmp_path)] == ["cat/000.png", "dog/000.png"]
