"""Reuse of an earlier tensor cache: only new content is decoded, and the result is byte-identical."""

import shutil
from pathlib import Path

import pytest

from tasks.core.config import Fit, NormalizeSettings, SourceSettings
from tasks.core.data.readers import corrections, factory
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import read_rows
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace
from tests.support.sample_files import ALLOW_ALL_UNREADABLE, encoded, noise, parquet, photos, put, smooth


def normalized(
    source: Path, workspace: Workspace, settings: NormalizeSettings = ALLOW_ALL_UNREADABLE
) -> TensorCache:
    return normalize.normalize(acquire.acquire(SourceSettings(str(source)), workspace), settings, workspace)


def from_scratch(
    cache: TensorCache, source: Path, workspace: Workspace, settings: NormalizeSettings
) -> dict[str, str]:
    handle = acquire.acquire(SourceSettings(str(source)), workspace)
    again = normalize.normalize(handle, settings, workspace, refresh=True)
    assert again.digest == cache.digest
    return contents(again)


def contents(cache: TensorCache) -> dict[str, str]:
    return {name: entry["sha256"] for name, entry in cache.manifest["files"].items()}


def decoded(cache: TensorCache) -> int:
    return int(cache.manifest["facts"]["decoded"])


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """200 images; two of them are unreadable and one is a copy."""
    root = photos(tmp_path / "animals", {"cat": 99, "dog": 98})
    put(root / "cat" / "broken.png", b"x")
    put(root / "dog" / "tiny.png", encoded(noise(1, 2, 2)))
    put(root / "dog" / "copy.png", (root / "dog" / "000.png").read_bytes())
    return root


def change(root: Path) -> None:
    """Change one image each: new content, added, removed, renamed, moved to another class."""
    put(root / "cat" / "005.png", encoded(noise(7001)))
    put(root / "dog" / "new.png", encoded(noise(7002)))
    (root / "dog" / "007.png").unlink()
    (root / "cat" / "009.png").rename(root / "cat" / "renamed.png")
    (root / "cat" / "011.png").rename(root / "dog" / "moved.png")


def test_reuse_decodes_new_content_only_and_is_byte_identical(animals: Path, workspace: Workspace) -> None:
    assert decoded(normalized(animals, workspace)) == 200
    change(animals)
    cache = normalized(animals, workspace)
    assert decoded(cache) == 2 + 2  # two new images, and the two unreadable ones, which are tried each time
    files = contents(cache)
    assert files == from_scratch(cache, animals, workspace, ALLOW_ALL_UNREADABLE)


def test_corrections_decode_nothing_again(animals: Path, tmp_path: Path, workspace: Workspace) -> None:
    (animals / "cat" / "broken.png").unlink()
    (animals / "dog" / "tiny.png").unlink()
    normalized(animals, workspace)
    (tmp_path / "corrections.csv").write_text("path,class_name\ncat/000.png,dog\n")
    raw = acquire.acquire(SourceSettings(str(animals)), workspace)
    corrected = corrections.apply_corrections(raw, tmp_path / "corrections.csv", workspace, factory.open_raw)
    assert decoded(normalize.normalize(corrected, ALLOW_ALL_UNREADABLE, workspace)) == 0


def test_reuse_of_an_unchanged_folder_with_other_settings(animals: Path, workspace: Workspace) -> None:
    normalized(animals, workspace)
    settings = NormalizeSettings(val_fraction=0.3, max_quarantine=1)
    cache = normalized(animals, workspace, settings)
    assert decoded(cache) == 2
    files = contents(cache)
    assert files == from_scratch(cache, animals, workspace, settings)


def test_reuse_other_image_size_decodes_all(animals: Path, workspace: Workspace) -> None:
    normalized(animals, workspace)
    assert decoded(normalized(animals, workspace, NormalizeSettings(image_size=16, max_quarantine=1))) == 200


def test_reuse_other_fit_decodes_all(animals: Path, workspace: Workspace) -> None:
    normalized(animals, workspace)
    cache = normalized(animals, workspace, NormalizeSettings(fit=Fit.pad, max_quarantine=1))
    assert (decoded(cache), cache.fit) == (200, "pad")


@pytest.mark.parametrize("late", ["colour", "size"])
def test_reuse_image_that_changes_the_shape_decodes_all(
    tmp_path: Path, workspace: Workspace, late: str
) -> None:
    root = tmp_path / "scans"
    for number in range(100):
        put(root / "ab"[number % 2] / f"{number}.png", encoded(noise(number, 28, 28, 1)))
    normalized(root, workspace)
    put(root / "a" / "late.png", encoded(noise(5, 28, 28) if late == "colour" else noise(5, 40, 40, 1)))
    cache = normalized(root, workspace)
    assert cache.shape == ((28, 28, 3) if late == "colour" else (32, 32, 1))
    assert decoded(cache) == 101
    files = contents(cache)
    assert files == from_scratch(cache, root, workspace, ALLOW_ALL_UNREADABLE)


def test_reuse_removed_exception_restores_the_shape(tmp_path: Path, workspace: Workspace) -> None:
    root = photos(tmp_path / "animals", {"cat": 50, "dog": 50}, size=40)
    put(root / "cat" / "odd.jpg", encoded(smooth(60, 50), "JPEG"))
    assert normalized(root, workspace).shape == (32, 32, 3)
    (root / "cat" / "odd.jpg").unlink()
    cache = normalized(root, workspace)
    assert cache.shape == (40, 40, 3)
    files = contents(cache)
    assert files == from_scratch(cache, root, workspace, ALLOW_ALL_UNREADABLE)


def test_reuse_damaged_cache_is_not_used(animals: Path, workspace: Workspace) -> None:
    first = normalized(animals, workspace)
    (first.directory / "val.images.npy").write_bytes(b"damaged")
    change(animals)
    cache = normalized(animals, workspace)
    assert decoded(cache) == 200
    shutil.rmtree(workspace.root / "tensors")
    assert contents(normalized(animals, workspace)) == contents(cache)


def test_reuse_other_dataset_of_the_same_name_shares_equal_content_only(
    tmp_path: Path, workspace: Workspace
) -> None:
    normalized(photos(tmp_path / "one" / "animals", {"cat": 50, "dog": 50}), workspace)
    other = photos(tmp_path / "two" / "animals", {"cat": 50, "dog": 50}, seed=1000)
    cache = normalized(other, workspace)
    assert decoded(cache) == 100
    files = contents(cache)
    assert files == from_scratch(cache, other, workspace, ALLOW_ALL_UNREADABLE)


def test_reuse_additional_shard_decodes_its_images_only(tmp_path: Path, workspace: Workspace) -> None:
    names = ("cat", "dog")
    parquet(tmp_path / "pets" / "part-0.parquet", [0, 1] * 30, names=names)
    normalized(tmp_path / "pets", workspace)
    parquet(tmp_path / "pets" / "part-1.parquet", [0, 1] * 5, names=names, seed=1000)
    cache = normalized(tmp_path / "pets", workspace)
    assert decoded(cache) == 10
    files = contents(cache)
    assert files == from_scratch(cache, tmp_path / "pets", workspace, ALLOW_ALL_UNREADABLE)


def test_reuse_corrections_change_labels_and_decode_no_image(
    animals: Path, workspace: Workspace, tmp_path: Path
) -> None:
    normalized(animals, workspace)
    path = tmp_path / "corrections.csv"
    path.write_text("path,class_name\ncat/003.png,dog\n")
    raw = acquire.acquire(SourceSettings(str(animals), corrections=path), workspace)
    cache = normalize.normalize(raw, ALLOW_ALL_UNREADABLE, workspace)
    assert decoded(cache) == 2  # the unreadable ones
    rows = read_rows(cache, ["path", "class_name"]).to_pandas().set_index("path")
    assert rows["class_name"]["cat/003.png"] == "dog"
