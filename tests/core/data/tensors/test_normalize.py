"""The normalize stage on small real folders and archives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers import cifar
from tasks.core.data.sources import acquire
from tasks.core.data.sources.catalog import DATASETS
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import SPLITS, open_split
from tasks.core.errors import DataError, QuarantineError
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import hashing
from tasks.core.workspace import Workspace
from tests.support.sample_files import (
    ALLOW_ALL_UNREADABLE,
    encoded,
    files_below,
    noise,
    photos,
    put,
    records,
    smooth,
    tar_gz,
)


def normalized(root: Path, workspace: Workspace, settings: NormalizeSettings | None = None) -> TensorCache:
    return normalize.normalize(
        acquire.acquire(SourceSettings(str(root)), workspace), settings or NormalizeSettings(), workspace
    )


def left_out(cache: TensorCache) -> dict[str, str]:
    table = pd.read_parquet(cache.directory / "quarantine.parquet").query("done != 'kept'")
    return dict(zip(table["path"], table["reason"], strict=True))


def test_normalize_every_row_is_the_image_in_the_table(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 40, "dog": 40, "eel": 20})
    cache = normalized(root, workspace)
    assert (cache.classes, cache.shape) == (("cat", "dog", "eel"), (32, 32, 3))
    rows = pd.read_parquet(cache.directory / "rows.parquet")
    assert sorted(rows["path"]) == sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    opened = {split: open_split(cache, split) for split in SPLITS}
    for row in rows.itertuples():
        split, file = opened[row.split], root / row.path
        assert encoded(split.images[row.row]) == file.read_bytes()  # `photos` writes noise as PNG
        assert cache.classes[split.labels[row.row]] == file.parent.name == row.class_name
        assert row.image_id == hashing.sha256_file(file)
    assert [len(split.labels) for split in opened.values()] == [cache.train, cache.val, cache.test]


def test_normalize_facts_describe_the_train_split(tmp_path: Path, workspace: Workspace) -> None:
    cache = normalized(photos(tmp_path / "animals", {"cat": 40, "dog": 20}), workspace)
    facts, train = cache.manifest["facts"], open_split(cache, "train")
    assert facts["mean"] == pytest.approx(train.images.mean(axis=(0, 1, 2)), abs=1e-6)
    assert facts["std"] == pytest.approx(train.images.std(axis=(0, 1, 2)), abs=1e-6)
    assert facts["class_counts"]["train"] == np.bincount(train.labels, minlength=2).tolist()


def test_normalize_digits_equal_scikit_learns(workspace: Workspace) -> None:
    cache = normalized(Path("digits"), workspace)
    expected = {(image.tobytes(), label) for image, label in zip(*load_digits(return_X_y=True), strict=True)}
    actual = set()
    for split in SPLITS:
        opened = open_split(cache, split)
        for image, label in zip(opened.images, opened.labels, strict=True):
            actual.add((np.rint(image.reshape(64) * (16 / 255)).tobytes(), label))
    assert actual == expected
    assert cache.train + cache.val + cache.test == 1797


def test_normalize_cifar_keeps_its_test_split(tmp_path: Path, workspace: Workspace) -> None:
    array_format = DATASETS["cifar10"].array_format
    path = tar_gz(
        tmp_path / "cifar.tar.gz",
        {
            name: records(array_format, [0, 9, 5, 5], seed=10 * k)
            for k, (name, _) in enumerate(array_format.members)
        },
    )
    settings = SourceSettings("cifar10", path, hashing.sha256_file(path))
    handle = acquire.acquire(settings, workspace)
    cache = normalize.normalize(handle, NormalizeSettings(val_fraction=0.3), workspace)
    assert (cache.test, cache.train + cache.val) == (4, 20)
    rows = pd.read_parquet(cache.directory / "rows.parquet").query("split == 'test'").sort_values("row")
    blocks = {block.part: block.images for block in cifar.blocks(path, array_format)}
    test = open_split(cache, "test")
    for row in rows.itertuples():
        member, number = row.path.split("#")
        assert np.array_equal(test.images[row.row], blocks[member][int(number)])


def test_normalize_same_folder_is_byte_identical(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 20, "dog": 20})
    handle = acquire.acquire(SourceSettings(str(root)), workspace)
    first = normalize.normalize(handle, NormalizeSettings(), workspace)
    files = {name: entry["sha256"] for name, entry in first.manifest["files"].items()}
    again = normalize.normalize(handle, NormalizeSettings(), workspace, refresh=True)
    assert {name: entry["sha256"] for name, entry in again.manifest["files"].items()} == files


def test_normalize_unreadable_images_are_quarantined_with_reasons(
    tmp_path: Path, workspace: Workspace
) -> None:
    root = photos(tmp_path / "animals", {"cat": 30, "dog": 30})
    put(root / "cat" / "empty.png", b"")
    put(root / "cat" / "text.jpg", b"no image at all")
    put(root / "dog" / "tiny.png", encoded(noise(1, 2, 2)))
    put(root / "dog" / "half.jpg", encoded(smooth(64, 64), "JPEG")[:500])
    cache = normalized(root, workspace, ALLOW_ALL_UNREADABLE)
    assert cache.quarantined == 4
    reasons = left_out(cache)
    assert sorted(reasons) == ["cat/empty.png", "cat/text.jpg", "dog/half.jpg", "dog/tiny.png"]
    assert reasons["cat/empty.png"] == "empty file"
    assert reasons["cat/text.jpg"] == "a text: not an image"
    assert reasons["dog/tiny.png"] == "tiny: 2x2 pixels"
    assert reasons["dog/half.jpg"].startswith("broken JPEG")
    rows = pd.read_parquet(cache.directory / "rows.parquet")
    assert len(rows) == 60
    assert not set(rows["path"]) & set(reasons)


def test_normalize_quarantined_images_do_not_move_others(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 30, "dog": 30})
    clean = normalized(root, workspace)
    for number in range(9):
        put(root / "cat" / f"broken{number}.png", bytes([number]))
    other = normalized(root, workspace, ALLOW_ALL_UNREADABLE)
    for split in SPLITS:
        assert np.array_equal(open_split(clean, split).images, open_split(other, split).images)
        assert np.array_equal(open_split(clean, split).labels, open_split(other, split).labels)


def test_normalize_too_many_unreadable_images_raise(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 20, "dog": 19})
    put(root / "dog" / "broken.png", b"x")
    with pytest.raises(QuarantineError, match=r"1 of 40 images cannot be used \(2\.50 %\)") as error:
        normalized(root, workspace, NormalizeSettings(max_quarantine=0.024))
    assert "dog/broken.png: a text: not an image" in error.value.parts["found"]
    assert files_below(workspace.root / "tensors") == []
    assert normalized(root, workspace, NormalizeSettings(max_quarantine=0.025)).quarantined == 1


def test_normalize_removed_file_is_quarantined(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 20, "dog": 20})
    handle = acquire.acquire(SourceSettings(str(root)), workspace)
    (root / "cat" / "003.png").unlink()
    cache = normalize.normalize(handle, ALLOW_ALL_UNREADABLE, workspace)
    assert left_out(cache) == {"cat/003.png": "not readable: No such file or directory"}


def test_normalize_file_changed_after_listing_is_quarantined(tmp_path: Path, workspace: Workspace) -> None:
    """Otherwise its pixels would be stored under the old image id, and a later run would reuse them."""
    root = photos(tmp_path / "animals", {"cat": 20, "dog": 20})
    handle = acquire.acquire(SourceSettings(str(root)), workspace)
    put(root / "cat" / "003.png", encoded(noise(77)))
    cache = normalize.normalize(handle, ALLOW_ALL_UNREADABLE, workspace)
    assert left_out(cache) == {"cat/003.png": "changed after it was listed"}


def test_normalize_empty_split_is_refused(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 1, "dog": 1})
    with pytest.raises(DataError, match="animals has too few images: none for") as error:
        normalized(root, workspace)
    assert error.value.parts["to do"] == "add images: five different ones of each class at least"
    root = photos(tmp_path / "pets", {f"{split}/{name}": 1 for split in ("train", "test") for name in "ab"})
    with pytest.raises(DataError, match="pets has too few images: none for val") as error:
        normalized(root, workspace)
    assert "--val-fraction" in error.value.parts["to do"]
    assert files_below(workspace.root / "tensors") == []


def test_normalize_copies_of_few_images_are_counted(tmp_path: Path, workspace: Workspace) -> None:
    """40 copies of two images said "20 train, 20 val, 0 test", and to raise --val-fraction."""
    for name, seed in (("cat", 1), ("dog", 2)):
        for number in range(20):
            put(tmp_path / "animals" / name / f"{number}.png", encoded(noise(seed)))
    with pytest.raises(DataError, match="too few images") as error:
        normalized(tmp_path / "animals", workspace)
    assert error.value.parts["found"].endswith("; 2 different images, and copies of these")


def test_normalize_late_image_of_another_size_changes_the_shape(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 100, "dog": 100}, size=40)
    assert normalized(root, workspace).shape == (40, 40, 3)
    put(root / "dog" / "other.png", encoded(noise(5000, 50, 60)))
    cache = normalized(root, workspace)
    assert cache.shape == (32, 32, 3)
    assert cache.train + cache.val + cache.test == 201


def test_normalize_grey_folder_becomes_colour_with_a_colour_image(
    tmp_path: Path, workspace: Workspace
) -> None:
    for number in range(60):
        put(tmp_path / "scans" / "ab"[number % 2] / f"{number}.png", encoded(noise(number, 28, 28, 1)))
    assert normalized(tmp_path / "scans", workspace).shape == (28, 28, 1)
    put(tmp_path / "scans" / "a" / "colour.png", encoded(noise(99, 28, 28)))
    assert normalized(tmp_path / "scans", workspace).shape == (28, 28, 3)


def test_normalize_image_size_in_settings_is_used(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 20, "dog": 20})
    cache = normalized(root, workspace, NormalizeSettings(image_size=16))
    assert cache.shape == (16, 16, 3)
    assert cache.digest != normalized(root, workspace).digest
