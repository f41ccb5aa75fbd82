"""The audit stage on folders with planted duplicates, outliers and uneven classes."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.audit import audit, duplicate_table
from tasks.core.data.audit.outliers import Brightness
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import SPLITS
from tasks.core.stage.handles import Audit, TensorCache
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, put
from tests.support.synthetic_photos import brightened, mirrored, moved, recompressed, scenes

ImagesByPath = dict[str, NDArray[np.uint8]]


def folder(root: Path, images_by_path: ImagesByPath) -> Path:
    for path, image in images_by_path.items():
        put(root / f"{path}.png", encoded(image))
    return root


def different_images(seed: int = 0) -> ImagesByPath:
    """120 different images in two classes and three splits."""
    images = iter(scenes(120, seed))
    counts = {"train": 35, "val": 10, "test": 15}
    return {
        f"{split}/{name}/{number:02d}": next(images)
        for split, count in counts.items()
        for name in ("cat", "dog")
        for number in range(count)
    }


def audited(root: Path, images_by_path: ImagesByPath, workspace: Workspace) -> tuple[Audit, TensorCache]:
    source = acquire.acquire(SourceSettings(str(folder(root, images_by_path))), workspace)
    cache = normalize.normalize(source, NormalizeSettings(), workspace)
    return audit.audit(cache, workspace), cache


def paths(cache: TensorCache) -> dict[tuple[str, int], str]:
    rows = pd.read_parquet(cache.directory / "rows.parquet")
    return {(row.split, row.row): row.path.removesuffix(".png") for row in rows.itertuples()}


def pairs_of(output: Audit, cache: TensorCache) -> set[tuple[str, ...]]:
    """Kind and paths of every pair."""
    path_of = paths(cache)
    return {
        (pair["kind"], *sorted(path_of[pair[f"split_{side}"], pair[f"row_{side}"]] for side in "ab"))
        for pair in duplicate_table.read(output).to_pylist()
    }


def leaking_paths(output: Audit, cache: TensorCache) -> set[str]:
    path_of = paths(cache)
    return {
        path_of[split, int(row)]
        for split in SPLITS
        for row in np.flatnonzero(duplicate_table.read_leaks(output, split))
    }


@pytest.mark.slow
def test_audit_different_images_have_no_findings(tmp_path: Path, workspace: Workspace) -> None:
    output, cache = audited(tmp_path / "animals", different_images(), workspace)
    assert pairs_of(output, cache) == set()
    assert leaking_paths(output, cache) == set()
    assert output.findings == ()
    assert str(output) == "nothing unusual"


def test_audit_planted_near_duplicates_are_found(tmp_path: Path, workspace: Workspace) -> None:
    images_by_path = different_images()
    images_by_path["test/cat/20"] = recompressed(images_by_path["train/cat/00"], 60)
    images_by_path["test/cat/21"] = moved(images_by_path["train/cat/01"], 2, 1)
    images_by_path["test/cat/22"] = brightened(images_by_path["val/cat/02"])
    images_by_path["test/dog/23"] = mirrored(images_by_path["test/dog/03"])
    images_by_path["train/dog/50"] = mirrored(images_by_path["train/cat/04"])
    output, cache = audited(tmp_path / "animals", images_by_path, workspace)
    assert pairs_of(output, cache) == {
        ("near", "test/cat/20", "train/cat/00"),
        ("near", "test/cat/21", "train/cat/01"),
        ("near", "test/cat/22", "val/cat/02"),
        ("near", "test/dog/03", "test/dog/23"),
        ("near", "train/cat/04", "train/dog/50"),
    }
    assert leaking_paths(output, cache) == {
        *("train/cat/00", "train/cat/01", "val/cat/02"),
        *("test/cat/20", "test/cat/21", "test/cat/22"),
    }
    figures = audit.read_figures(output)
    assert figures["duplicates"] == {
        "exact": {},
        "near": {"test-test": 1, "train-test": 2, "train-train": 1, "val-test": 1},
    }
    assert (figures["leaks"], figures["leaked"]) == (3, {"train": 2, "val": 1})
    assert figures["conflicts"] == {"exact": 0, "near": 1}
    assert output.findings == (
        "3 of 34 test images have a duplicate in train or val",
        "1 pair of duplicates with different labels: a wrong label, or images that only look alike",
        "1 pair of duplicates within train",
    )


@pytest.mark.parametrize("size", [32, pytest.param(96, marks=pytest.mark.slow)])
def test_audit_enlarged_images_are_compared_at_original_size(
    tmp_path: Path, workspace: Workspace, size: int
) -> None:
    """Recompressed copies are near duplicates, also after original and copy were enlarged."""
    images_by_path = different_images()
    for number in range(6):
        images_by_path[f"test/cat/2{number}"] = recompressed(images_by_path[f"train/cat/0{number}"], 50)
    source = acquire.acquire(SourceSettings(str(folder(tmp_path / "animals", images_by_path))), workspace)
    cache = normalize.normalize(source, NormalizeSettings(image_size=size), workspace)
    planted = {("near", f"test/cat/2{number}", f"train/cat/0{number}") for number in range(6)}
    assert pairs_of(audit.audit(cache, workspace), cache) == planted


@pytest.mark.slow
def test_audit_exact_copies_across_splits_all_leak(tmp_path: Path, workspace: Workspace) -> None:
    """Seven images of one content: three in train, two in val, two in test."""
    images_by_path = different_images()
    copies = [f"{split}/cat/{number}" for split in SPLITS for number in (60, 61)] + ["train/cat/62"]
    images_by_path |= dict.fromkeys(copies, scenes(1, seed=9)[0])
    output, cache = audited(tmp_path / "animals", images_by_path, workspace)
    assert leaking_paths(output, cache) == set(copies)
    assert {kind for kind, _, _ in pairs_of(output, cache)} == {"exact"}
    assert len(pairs_of(output, cache)) == len(copies) - 1
    assert audit.read_figures(output)["leaks"] == 2


def test_audit_copies_of_a_near_duplicate_leak(tmp_path: Path, workspace: Workspace) -> None:
    images_by_path = different_images()
    images_by_path |= dict.fromkeys(
        ("test/cat/70", "test/cat/71"), recompressed(images_by_path["train/cat/05"], 50)
    )
    images_by_path["train/cat/72"] = images_by_path["train/cat/05"]
    output, cache = audited(tmp_path / "animals", images_by_path, workspace)
    assert leaking_paths(output, cache) == {"test/cat/70", "test/cat/71", "train/cat/05", "train/cat/72"}


def test_audit_pairs_are_sorted_by_distance(tmp_path: Path, workspace: Workspace) -> None:
    images_by_path = different_images()
    for number in range(5):
        images_by_path[f"test/cat/3{number}"] = recompressed(images_by_path[f"train/cat/0{number}"], 60)
    images_by_path["test/dog/40"] = images_by_path["train/dog/00"]
    output, _ = audited(tmp_path / "animals", images_by_path, workspace)
    table = duplicate_table.read(output).to_pandas()
    assert table["distance"].is_monotonic_increasing
    assert table["kind"].tolist() == ["exact"] + ["near"] * 5
    assert table["distance"].between(0, 1).all()


def test_audit_small_images_are_searched_for_exact_copies_only(workspace: Workspace) -> None:
    source = acquire.acquire(SourceSettings("digits"), workspace)
    output = audit.audit(normalize.normalize(source, NormalizeSettings(), workspace), workspace)
    assert set(audit.read_figures(output)["duplicates"]["near"]) == set()


def outliers(output: Audit, cache: TensorCache) -> dict[str, str]:
    """Kind by path."""
    table = pd.read_parquet(output.directory / audit.OUTLIERS)
    return {paths(cache)[row.split, row.row]: row.kind for row in table.itertuples()}


def test_outliers_by_brightness_are_found(tmp_path: Path, workspace: Workspace) -> None:
    images_by_path = different_images()
    dark = (scenes(1, seed=3)[0] // 20).astype(np.uint8)
    images_by_path |= {"train/cat/80": np.full((32, 32, 3), 128, np.uint8), "train/cat/81": dark}
    output, cache = audited(tmp_path / "animals", images_by_path, workspace)
    assert outliers(output, cache) == {"train/cat/80": "empty", "train/cat/81": "brightness"}
    assert audit.read_figures(output)["outliers"] == {"empty": 1, "brightness": 1, "size": 0, "enlarged": 0}


@pytest.mark.slow
def test_outliers_by_size_are_found(tmp_path: Path, workspace: Workspace) -> None:
    """Most images are 40 to 59 pixels a side; one is a strip, one is tiny, one has 300 pixels a side."""
    sides = iter(range(40, 60))
    images_by_path = {}
    for path, image in different_images().items():
        side = next(sides, None) or 50
        images_by_path[path] = np.asarray(Image.fromarray(image).resize((side, side)))
    huge, tiny, strip = scenes(3, seed=8, side=300)
    images_by_path |= {"test/cat/90": huge, "test/cat/91": tiny[:20, :20], "test/cat/92": strip[:20]}
    output, cache = audited(tmp_path / "animals", images_by_path, workspace)
    table = pd.read_parquet(output.directory / audit.OUTLIERS)
    table["path"] = [paths(cache)[row.split, row.row] for row in table.itertuples()]
    sizes = table[table["kind"] == "size"]
    assert {"test/cat/90", "test/cat/91", "test/cat/92"} <= set(sizes["path"])
    assert set(table.loc[table["kind"] == "enlarged", "path"]) == {"test/cat/91", "test/cat/92"}
    strips = sizes[sizes["path"] == "test/cat/92"]
    assert strips[["height", "width"]].to_numpy().tolist() == [[20, 300]]


def test_brightness_is_the_luma_of_bt_601() -> None:
    images = np.array([[[[255, 0, 0]]], [[[0, 255, 0]]], [[[0, 0, 255]]]], np.uint8)
    assert Brightness.of(images).mean == pytest.approx([76.245, 149.685, 29.07], abs=1e-3)


def test_red_on_green_of_one_luma_is_not_empty() -> None:
    images = np.tile(np.array([153, 78, 0], np.uint8), (3, 8, 8, 1))
    images[1, :, 4:] = (0, 156, 0)  # 0.299 * 153 = 0.587 * 78
    images[2, :, 4:] += 1
    assert Brightness.of(images).deviation == pytest.approx([0, 0, 0.5], abs=0.1)
    assert Brightness.of(images).empty.tolist() == [True, False, True]


def test_audit_uneven_classes_are_a_finding(tmp_path: Path, workspace: Workspace) -> None:
    images_by_path = {
        path: image
        for path, image in different_images().items()
        if not (path.startswith("train/dog") and path > "train/dog/05")
    }
    output, _ = audited(tmp_path / "animals", images_by_path, workspace)
    assert output.findings == ("uneven classes in train: 35 images of cat, 6 of dog",)


def test_audit_existing_output_is_reused(tmp_path: Path, workspace: Workspace) -> None:
    output, cache = audited(tmp_path / "animals", different_images(), workspace)
    before = output.manifest["created"], (output.directory / audit.NAME).stat().st_ino
    again = audit.audit(cache, workspace)
    assert (again.manifest["created"], (again.directory / audit.NAME).stat().st_ino) == before
