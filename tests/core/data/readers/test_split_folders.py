"""Folders that are named like splits are splits, or refused by name: never the classes of a classifier."""

import zipfile
from pathlib import Path

import pytest

from tasks.core.data.files import class_names
from tasks.core.data.readers import csv_table, factory
from tasks.core.data.readers.image_folder import folders
from tasks.core.data.split_names import split_of
from tasks.core.errors import DataError
from tests.support.sample_files import encoded, noise, photos, put


def splits(root: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in folders.scan(root).to_pylist():
        if not row["reason"]:
            found.setdefault(row["split"], set()).add(row["class_name"])
    return found


def unused(root: Path) -> dict[str, str]:
    return {row["path"]: row["reason"] for row in folders.scan(root).to_pylist() if row["reason"]}


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        *[("Train", "Test", "test"), ("TRAIN", "VAL", "val"), ("training", "testing", "test")],
        *[("train", "dev", "val"), ("train", "eval", "test"), ("Training_Set", "Test_Set", "test")],
        *[
            ("seg_train", "seg_test", "test"),
            ("train2017", "val2017", "val"),
            ("trainset", "testset", "test"),
        ],
        *[("train", "Validation", "val"), ("trn", "tst", "test"), ("Training Data", "Evaluation", "test")],
    ],
)
def test_split_folders_in_any_spelling_are_splits(tmp_path: Path, train: str, other: str, split: str) -> None:
    photos(tmp_path, dict.fromkeys([f"{name}/{kind}" for name in (train, other) for kind in "ab"], 1))
    assert splits(tmp_path) == {"train": {"a", "b"}, split: {"a", "b"}}


def test_split_folders_named_twice_are_entered(tmp_path: Path) -> None:
    """The layout of some Kaggle datasets: `seg_train/seg_train/<class>`."""
    folders = [f"seg_{split}/seg_{split}/{kind}" for split in ("train", "test") for kind in "ab"]
    photos(tmp_path, dict.fromkeys(folders, 1))
    assert splits(tmp_path) == {"train": {"a", "b"}, "test": {"a", "b"}}


@pytest.mark.parametrize("name", ["test", "Test", "testing", "val"])
def test_flat_split_beside_train_is_left_out_and_named(tmp_path: Path, name: str) -> None:
    photos(tmp_path, {"train/cat": 2, "train/dog": 2, name: 3})
    assert splits(tmp_path) == {"train": {"cat", "dog"}}
    reasons = unused(tmp_path)
    assert set(reasons) == {f"{name}/00{number}.png" for number in range(3)}
    assert all(reason.startswith("unlabelled, in a split") for reason in reasons.values())


def test_empty_split_and_folders_beside_splits_are_named(tmp_path: Path) -> None:
    photos(tmp_path, {"train/cat": 1, "train/dog": 1, "test/cat": 1, "test/dog": 1, "extra": 1})
    (tmp_path / "val").mkdir()
    assert set(splits(tmp_path)) == {"train", "test"}
    assert {path: reason.partition(":")[0] for path, reason in unused(tmp_path).items()} == {
        "extra/000.png": "in a folder beside the splits",
        "val/": "an empty folder of a split",
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train", "test"), "splits without class folders"),
        (("Train", "Validation", "test"), "splits without class folders"),
        (("train",), "splits without class folders"),
        (("train", "unlabelled"), "splits without class folders"),
        (("val/a", "val/b", "test/a", "test/b"), "class folders in test, val, but no train split"),
        (("train", "test/a", "test/b"), "class folders in test, but no train split"),
        (("cat", "dog", "test"), "has test beside class folders"),
        (("cat", "dog", "train", "test"), "has test, train beside class folders"),
        (("train/a", "train/b", "Train/a", "Train/b"), "two folders for one split"),
        (("train/a", "train/b", "photos/c"), "two ways: train as a split or as a class"),
        (("fold_1/a", "fold_1/b", "fold_2/a", "fold_2/b"), "numbered parts, not classes"),
        (("cat/train", "cat/test", "dog/train", "dog/test"), "the splits inside the classes"),
        (("photos/a", "photos/b"), "only one class"),
    ],
)
def test_what_cannot_be_decided_is_refused_by_name(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    photos(tmp_path, dict.fromkeys(names, 2))
    with pytest.raises(DataError, match=message) as error:
        folders.scan(tmp_path)
    assert names[0].partition("/")[0] in error.value.parts["found"]
    assert error.value.parts["to do"]


@pytest.mark.parametrize("name", ["test", "Validation"])
def test_what_a_model_is_evaluated_on_needs_no_train_split(tmp_path: Path, name: str) -> None:
    photos(tmp_path, {f"{name}/a": 1, f"{name}/b": 1})
    with class_names.any_classes():
        assert splits(tmp_path) == {split_of(name): {"a", "b"}}
        photos(tmp_path, {"photos/c": 1})
        with pytest.raises(DataError, match=f"two ways: {name} as a split or as a class"):
            folders.scan(tmp_path)


@pytest.mark.parametrize("classes", [("train", "tram"), ("valid", "invalid"), ("train", "tram", "bus")])
def test_class_named_like_a_split_is_a_class(tmp_path: Path, classes: tuple[str, ...]) -> None:
    photos(tmp_path, dict.fromkeys(classes, 1))
    assert splits(tmp_path) == {"": set(classes)}


def test_images_without_folders_are_refused_as_such(tmp_path: Path) -> None:
    put(tmp_path / "1.png", encoded(noise(1)))
    with pytest.raises(DataError, match="has no classes") as error:
        folders.scan(tmp_path)
    assert error.value.parts["found"] == "images, but no folders"


def test_archive_with_one_split_folder_is_not_entered(tmp_path: Path) -> None:
    """Else `Train` would be taken for the folder that was packed."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for kind in ("cat", "dog"):
            archive.writestr(f"Train/{kind}/1.png", encoded(noise(len(kind))))
    rows = factory.FILE_FORMATS["archive"].scan(tmp_path / "a.zip").to_pylist()
    assert {row["split"] for row in rows} == {"train"}


def test_csv_takes_the_same_words(tmp_path: Path) -> None:
    photos(tmp_path, {"x": 4})
    lines = [f"x/00{n}.png,{'ab'[n % 2]},{split}" for n, split in enumerate(["Training"] * 2 + ["DEV"] * 2)]
    put(tmp_path / "labels.csv", "\n".join(["path,label,split", *lines]).encode())
    rows = csv_table.scan(tmp_path / "labels.csv").to_pylist()
    assert [row["split"] for row in rows] == ["train", "train", "val", "val"]


@pytest.mark.parametrize("name", ["contest", "set", "trainer", "test train", "train test", "image", "device"])
def test_other_words_are_no_split(name: str) -> None:
    assert split_of(name) == ""
