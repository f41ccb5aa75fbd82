"""Small classes have a val and a test image, and a growing folder moves no image to where it was not seen."""

import hashlib
import logging
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers.base import UNLABELLED, ImageIndex, ImageRef
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.split_floor import MIN_IMAGES
from tasks.core.data.tensors.splits import Splits
from tasks.core.workspace import Workspace
from tests.support.sample_files import photos
from tests.support.single_splits import split_of

pytestmark = pytest.mark.slow
Classes = dict[int, list[int]]  # label -> contents, as numbers; the same number again is an exact copy
CONTENTS = st.integers(0, 2**31)
# An image in two classes is left out of the tensors, so the classes share none here.
CLASS = st.lists(CONTENTS, min_size=MIN_IMAGES, max_size=14, unique=True)


def image_id(content: int) -> str:
    return hashlib.sha256(str(content).encode()).hexdigest()


def assigned(classes: Classes, val_fraction: float = 0.1, source_split: str = "") -> dict[str, str]:
    """The split of each image by its path, `<label>/<position>`."""
    rows = [
        ImageRef(image_id(content), f"{label}/{position}", source_split, label)
        for label, contents in classes.items()
        for position, content in enumerate(contents)
    ]
    splits = Splits.of(ImageIndex.of(rows), val_fraction)
    return {rows[number].path: split for split, numbers in splits.numbers.items() for number in numbers}


def by_class(splits: dict[str, str]) -> dict[int, list[str]]:
    found = defaultdict(list)
    for path, split in splits.items():
        found[int(path.partition("/")[0])].append(split)
    return found


@settings(max_examples=100, deadline=None)
@given(st.lists(CLASS, min_size=1, max_size=3), st.sampled_from([0.05, 0.1, 0.5]))
def test_split_floor_every_class_has_val_and_test(contents: list[list[int]], val_fraction: float) -> None:
    """But for a class whose images all are val or test by their hash: 0.28^5, one in 580 classes of five."""
    for splits in by_class(assigned(dict(enumerate(contents)), val_fraction)).values():
        assert {"val", "test"} <= set(splits) or "train" not in splits


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(CLASS, st.lists(CONTENTS, max_size=8)), min_size=1, max_size=2),
    st.sampled_from([0.05, 0.1, 0.5]),
)
@example([([1, 2, 3, 4, 5], [2**20 + k for k in range(100)])], 0.1)
def test_split_floor_growing_folder_only_moves_images_to_train(
    grown: list[tuple[list[int], list[int]]], val_fraction: float
) -> None:
    """One image after the other is added to classes of five or more; the added ones may be copies."""
    classes = {label: [2 * content + label for content in first] for label, (first, _) in enumerate(grown)}
    before = assigned(classes, val_fraction)
    for label, (_, added) in enumerate(grown):
        for content in added:
            classes[label].append(2 * content + label)
            after = assigned(classes, val_fraction)
            assert {after[path] for path in before if before[path] != after[path]} <= {"train"}
            before = after


@settings(max_examples=200, deadline=None)
@given(st.lists(CONTENTS, min_size=MIN_IMAGES, max_size=MIN_IMAGES, unique=True))
def test_split_floor_class_that_reaches_five_moves_two_images_at_most(contents: list[int]) -> None:
    before, after = assigned({0: contents[:-1]}), assigned({0: contents})
    moved = [(before[path], after[path]) for path in before if before[path] != after[path]]
    assert sorted(moved) in (
        [],
        [("train", "test")],
        [("train", "val")],
        [("train", "test"), ("train", "val")],
    )


@settings(max_examples=80, deadline=None)
@given(CLASS, st.data())
def test_split_floor_exact_copies_share_a_split(contents: list[int], data: st.DataObject) -> None:
    copies = data.draw(st.lists(st.sampled_from(contents), max_size=8))
    splits = assigned({0: contents + copies, 1: [*range(9), *copies[:2]]})
    for position, content in enumerate(copies, len(contents)):
        assert splits[f"0/{position}"] == splits[f"0/{contents.index(content)}"]
    for position, content in enumerate(copies[:2], 9):
        assert splits[f"1/{position}"] == splits[f"0/{contents.index(content)}"]


def test_split_floor_takes_the_ends_of_the_train_images() -> None:
    """Five images that all are train by themselves: the ranks are the first 48 bits of a hash."""
    contents = [n for n in range(100) if split_of(image_id(n), 0.1) == "train"][:5]
    rank = {n: hashlib.sha256(f"plumbline test:{image_id(n)}".encode()).hexdigest()[:12] for n in contents}
    expected = ["train"] * 5
    expected[contents.index(min(contents, key=rank.__getitem__))] = "test"
    expected[contents.index(max(contents, key=rank.__getitem__))] = "val"
    assert [assigned({0: contents})[f"0/{position}"] for position in range(5)] == expected


def test_split_floor_copies_make_no_class_large() -> None:
    contents = [n for n in range(100) if split_of(image_id(n), 0.1) == "train"][:4]
    assert set(assigned({0: contents * 3}).values()) == {"train"}


def test_split_floor_source_with_splits_of_its_own_keeps_them() -> None:
    contents = [n for n in range(100) if split_of(image_id(n), 0.1) == "train"][:9]
    assert set(assigned({0: contents}, 0.0, "train").values()) <= {"train", "test"}
    assert "val" not in assigned({0: contents}, 0.0).values()  # nobody asked for val images


def test_split_floor_source_without_val_gets_one_val_image_a_class() -> None:
    """Of train alone: the images that the source calls test stay test."""
    rows = [
        ImageRef(image_id(content), f"{split}/{label}/{content}", split, label)
        for label in (0, 1)
        for split, contents in (("train", range(5)), ("test", range(100, 103)))
        for content in (10 * label + number for number in contents)
    ]
    splits = Splits.of(ImageIndex.of(rows), 0.1)
    places = {rows[number].path: name for name, numbers in splits.numbers.items() for number in numbers}
    assert {path.split("/")[1] for path, name in places.items() if name == "val"} == {"0", "1"}
    assert all((name == "test") == path.startswith("test") for path, name in places.items())


@pytest.mark.parametrize("source_split", ["train", "val"])
def test_split_floor_source_without_test_gets_one_test_image_a_class(source_split: str) -> None:
    """As most datasets of the hub: `train` alone, or `train` and `validation`."""
    contents = [n for n in range(100) if split_of(image_id(n), 0.1) == "train"][:9]
    of_train = [ImageRef(image_id(n), f"train/{n}", "train", 0) for n in contents]
    of_other = [ImageRef(image_id(n), f"{source_split}/{n}", source_split, 0) for n in range(100, 103)]
    rows = [*of_train, *of_other]
    splits = Splits.of(ImageIndex.of(rows), 0.1)
    places = {rows[number].path: name for name, numbers in splits.numbers.items() for number in numbers}
    assert set(places.values()) == {"train", "val", "test"}
    assert all(name == "val" for path, name in places.items() if path.startswith("val"))


def test_split_floor_images_without_a_label_stay() -> None:
    contents = [n for n in range(100) if split_of(image_id(n), 0.1) == "train"][:9]
    assert set(assigned({UNLABELLED: contents}).values()) == {"train"}


def test_splits_of_larger_classes_are_those_of_version_0_1() -> None:
    """Hashes of the image numbers of each split as int64, taken from version 0.1, which had no floor."""
    rows = [ImageRef(image_id(n), f"{n}.png", "", n % 3) for n in range(3000)]
    numbers = Splits.of(ImageIndex.of(rows), 0.1).numbers
    golden = {"train": "e7f17a96dab5c3bc", "val": "bd8149c07873b4af", "test": "339f57566e714529"}
    for split, expected in golden.items():
        assert hashlib.sha256(numbers[split].astype("<i8").tobytes()).hexdigest()[:16] == expected


def test_split_floor_adds_only_what_small_classes_lack() -> None:
    """Each of two thousand small classes, against the rule for single images."""
    rng = np.random.default_rng(0)
    classes = {
        label: rng.integers(0, 2**31, size).tolist() for label, size in enumerate(rng.integers(5, 30, 2000))
    }
    splits = assigned(classes)
    for label, contents in classes.items():
        alone = [split_of(image_id(content), 0.1) for content in contents]
        floored = [splits[f"{label}/{position}"] for position in range(len(contents))]
        changes = sorted(new for old, new in zip(alone, floored, strict=True) if old != new)
        assert changes == sorted({"val", "test"} - set(alone))[: alone.count("train")]


def test_normalize_names_classes_that_are_too_small(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    root = photos(tmp_path / "animals", {"cat": 6, "dog": 40, "eel": 2})
    with caplog.at_level(logging.WARNING, "plumbline"):
        cache = normalize.normalize(
            acquire.acquire(SourceSettings(str(root)), workspace), NormalizeSettings(), workspace
        )
    assert "1 of 3 classes lack train, val or test images: eel; a class needs 5 different" in caplog.text
    counts = cache.manifest["facts"]["class_counts"]
    assert [min(counts[split][:2]) > 0 for split in ("train", "val", "test")] == [True] * 3
