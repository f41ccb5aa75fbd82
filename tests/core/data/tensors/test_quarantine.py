"""Images that are left out or kept with a remark: copies, label conflicts, missing labels."""

from pathlib import Path

import pandas as pd
import pytest

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers.base import UNLABELLED, ImageIndex, ImageRef
from tasks.core.data.sources import acquire
from tasks.core.data.sources.catalog import DATASETS
from tasks.core.data.tensors import normalize, quarantine
from tasks.core.errors import DataError, QuarantineError
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace
from tests.support.sample_files import (
    ALLOW_ALL_UNREADABLE,
    encoded,
    noise,
    parquet,
    photos,
    put,
    records,
    tar_gz,
)

CLASSES = ("cat", "dog", "eel")


def normalized(
    root: Path, workspace: Workspace, settings: NormalizeSettings = ALLOW_ALL_UNREADABLE
) -> TensorCache:
    return normalize.normalize(acquire.acquire(SourceSettings(str(root)), workspace), settings, workspace)


def table(cache: TensorCache) -> list[tuple[str, str, str]]:
    quarantined = pd.read_parquet(cache.directory / "quarantine.parquet")
    return list(quarantined[["path", "reason", "done"]].itertuples(index=False, name=None))


def paths(cache: TensorCache) -> set[str]:
    return set(pd.read_parquet(cache.directory / "rows.parquet")["path"])


def test_a_class_that_alone_can_be_used_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 30})
    for number in range(9):
        put(root / "dog" / f"{number}.jpg", b"no image")
    with pytest.raises(DataError, match="only one class of animals has train images") as refused:
        normalized(root, workspace)
    assert refused.value.parts["found"] == "cat: 22; none of dog"
    assert not list(workspace.root.glob("tensors/[!.]*"))


def test_quarantine_same_bytes_in_two_classes_are_left_out(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 30, "dog": 30})
    for name in ("cat/conflict.png", "dog/conflict.png", "dog/conflict-2.png"):
        put(root / name, encoded(noise(900)))
    cache = normalized(root, workspace)
    assert table(cache) == [
        (
            "cat/conflict.png",
            "in two classes: cat, and dog as dog/conflict-2.png",
            "left out; the file is unchanged",
        ),
        (
            "dog/conflict-2.png",
            "in two classes: dog, and cat as cat/conflict.png",
            "left out; the file is unchanged",
        ),
        (
            "dog/conflict.png",
            "in two classes: dog, and cat as cat/conflict.png",
            "left out; the file is unchanged",
        ),
    ]
    assert cache.quarantined == 3
    assert len(paths(cache)) == 60
    assert not any("conflict" in path for path in paths(cache))
    assert all((root / name).exists() for name, _, _ in table(cache))


def test_quarantine_copies_within_a_class_are_kept_and_reported(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 30, "dog": 30})
    for name in ("cat/b.png", "cat/c.png"):
        put(root / name, (root / "cat" / "000.png").read_bytes())
    cache = normalized(root, workspace)
    assert table(cache) == [
        ("cat/b.png", "exact copy of cat/000.png", "kept"),
        ("cat/c.png", "exact copy of cat/000.png", "kept"),
    ]
    assert cache.quarantined == 0
    assert len(paths(cache)) == 62


def test_quarantine_label_conflicts_count_towards_the_limit(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 30, "dog": 30})
    for name in ("cat/conflict.png", "dog/conflict.png"):
        put(root / name, encoded(noise(900)))
    with pytest.raises(QuarantineError, match="2 of 62 images") as error:
        normalized(root, workspace, NormalizeSettings())
    assert "cat/conflict.png: in two classes" in error.value.parts["found"]


def test_quarantine_unreadable_image_in_two_classes_is_listed_once(
    tmp_path: Path, workspace: Workspace
) -> None:
    root = photos(tmp_path / "animals", {"cat": 30, "dog": 30})
    for name in ("cat/x.png", "dog/x.png"):
        put(root / name, b"broken")
    assert [path for path, _, _ in table(normalized(root, workspace))] == ["cat/x.png", "dog/x.png"]


def test_quarantine_rows_without_label_or_bytes_are_left_out(tmp_path: Path, workspace: Workspace) -> None:
    contents: list[bytes | None] = [encoded(noise(number)) for number in range(60)]
    contents[8] = None
    labels = [number % 3 for number in range(60)]
    labels[4], labels[5] = -1, None
    path = parquet(tmp_path / "pets.parquet", labels, names=CLASSES, contents=contents)
    cache = normalized(path, workspace)
    assert [(path, reason) for path, reason, _ in table(cache)] == [
        ("pets.parquet#4", "no label"),
        ("pets.parquet#5", "no label"),
        ("pets.parquet#8", "no bytes in this row: store the images in the file, not only their paths"),
    ]
    assert len(paths(cache)) == 57


def test_quarantine_published_dataset_keeps_conflicting_images(tmp_path: Path, workspace: Workspace) -> None:
    """The first record is repeated, once with its class and once with another."""
    array_format = DATASETS["cifar10"].array_format
    content = {
        name: records(array_format, [0, 1, 2], seed=10 * k)
        for k, (name, _) in enumerate(array_format.members)
    }
    (test, _) = array_format.members[-1]
    pixels = content[test][1 : 1 + 3072]
    content[test] += b"\0" + pixels + b"\7" + pixels
    path = tar_gz(tmp_path / "cifar.tar.gz", content)
    handle = acquire.acquire(SourceSettings("cifar10", path, hashing.sha256_file(path)), workspace)
    cache = normalize.normalize(handle, NormalizeSettings(val_fraction=0.4), workspace)
    assert (cache.test, cache.quarantined) == (5, 0)
    assert [(path.split("#")[1], reason.split(" as ")[0], done) for path, reason, done in table(cache)] == [
        ("0", "in two classes: airplane, and horse", "kept"),
        ("3", "in two classes: airplane, and horse", "kept"),
        ("4", "in two classes: horse, and airplane", "kept"),
    ]


def test_find_label_conflicts_unlabelled_copy_is_no_conflict() -> None:
    rows = ImageIndex.of(
        [ImageRef("a", "1", "", 0), ImageRef("a", "2", "", UNLABELLED), ImageRef("b", "3", "", UNLABELLED)]
    )
    assert quarantine.find_label_conflicts(rows, CLASSES) == {1: "no label", 2: "no label"}


def test_find_label_conflicts_unlabelled_copy_hides_no_conflict() -> None:
    rows = ImageIndex.of(
        [ImageRef("a", "1", "", UNLABELLED), ImageRef("a", "2", "", 0), ImageRef("a", "3", "", 2)]
    )
    assert quarantine.find_label_conflicts(rows, CLASSES) == {
        0: "no label",
        1: "in two classes: cat, and eel as 3",
        2: "in two classes: eel, and cat as 2",
    }


def test_find_label_conflicts_three_classes_name_another_class() -> None:
    rows = ImageIndex.of(ImageRef("a", str(label), "", label) for label in range(3))
    assert quarantine.find_label_conflicts(rows, CLASSES) == {
        0: "in two classes: cat, and dog as 1",
        1: "in two classes: dog, and cat as 0",
        2: "in two classes: eel, and cat as 0",
    }


def test_counts_of_a_thousand_unusable_images_have_separators(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 20, "dog": 20})
    for number in range(1200):
        put(root / "dog" / f"broken{number}.png", b"x%d" % number)
    with pytest.raises(QuarantineError, match=r"1,200 of 1,240 images cannot be used") as error:
        normalized(root, workspace, NormalizeSettings(max_quarantine=0.5))
    assert " and 1,19" in error.value.parts["found"]
