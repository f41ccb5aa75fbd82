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

Pictures = dict[str, NDArray[np.uint8]]


def folder(root: Path, pictures: Pictures) -> Path:
    for path, picture in pictures.items():
        put(root / f"{path}.png", encoded(picture))
    return root


def plain(seed: int = 0) -> Pictures:
    """120 different pictures in two classes and three splits."""
    made = iter(scenes(120, seed))
    counts = {"train": 35, "val": 10, "test": 15}
    return {
        f"{split}/{name}/{number:02d}": next(made)
        for split, count in counts.items()
        for name in ("cat", "dog")
        for number in range(count)
    }


def audited(root: Path, pictures: Pictures, workspace: Workspace) -> tuple[Audit, TensorCache]:
    source = acquire.acquire(SourceSettings(str(folder(root, pictures))), workspace)
    cache = normalize.normalize(source, NormalizeSettings(), workspace)
    return audit.audit(cache, workspace), cache


def paths(cache: TensorCache) -> dict[tuple[str, int], str]:
    rows = pd.read_parquet(cache.directory / "rows.parquet")
    return {(row.split, row.row): row.path.removesuffix(".png") for row in rows.itertuples()}


def found(made: Audit, cache: TensorCache) -> set[tuple[str, ...]]:
    """Kind and paths of every pair."""
    named = paths(cache)
    return {
        (pair["kind"], *sorted(named[pair[f"split_{side}"], pair[f"row_{side}"]] for side in "ab"))
        for pair in duplicate_table.read(made).to_pylist()
    }


def leaking(made: Audit, cache: TensorCache) -> set[str]:
    named = paths(cache)
    return {
        named[split, int(row)]
        for split in SPLITS
        for row in np.flatnonzero(duplicate_table.read_leaks(made, split))
    }


def test_different_pictures_are_no_duplicates(tmp_path: Path, workspace: Workspace) -> None:
    made, cache = audited(tmp_path / "animals", plain(), workspace)
    assert found(made, cache) == set()
    assert leaking(made, cache) == set()
    assert made.findings == ()
    assert str(made) == "nothing unusual"


def test_planted_near_duplicates_are_found(tmp_path: Path, workspace: Workspace) -> None:
    pictures = plain()
    pictures["test/cat/20"] = recompressed(pictures["train/cat/00"], 60)
    pictures["test/cat/21"] = moved(pictures["train/cat/01"], 2, 1)
    pictures["test/cat/22"] = brightened(pictures["val/cat/02"])
    pictures["test/dog/23"] = mirrored(pictures["test/dog/03"])
    pictures["train/dog/50"] = mirrored(pictures["train/cat/04"])
    made, cache = audited(tmp_path / "animals", pictures, workspace)
    assert found(made, cache) == {
        ("near", "test/cat/20", "train/cat/00"),
        ("near", "test/cat/21", "train/cat/01"),
        ("near", "test/cat/22", "val/cat/02"),
        ("near", "test/dog/03", "test/dog/23"),
        ("near", "train/cat/04", "train/dog/50"),
    }
    assert leaking(made, cache) == {
        *("train/cat/00", "train/cat/01", "val/cat/02"),
        *("test/cat/20", "test/cat/21", "test/cat/22"),
    }
    figures = audit.read(made)
    assert figures["duplicates"] == {
        "exact": {},
        "near": {"test-test": 1, "train-test": 2, "train-train": 1, "val-test": 1},
    }
    assert (figures["leaks"], figures["leaked"]) == (3, {"train": 2, "val": 1})
    assert figures["conflicts"] == {"exact": 0, "near": 1}
    assert made.findings == (
        "3 of 34 test images have a duplicate in train or val",
        "1 pairs of duplicates have different labels",
        "1 pairs of duplicates within train",
    )


@pytest.mark.parametrize("size", [32, 96])
def test_enlarged_pictures_are_compared_as_they_came(tmp_path: Path, workspace: Workspace, size: int) -> None:
    """A recompressed copy of a small picture is one, too, once both have been enlarged."""
    pictures = plain()
    for number in range(6):
        pictures[f"test/cat/2{number}"] = recompressed(pictures[f"train/cat/0{number}"], 50)
    source = acquire.acquire(SourceSettings(str(folder(tmp_path / "animals", pictures))), workspace)
    cache = normalize.normalize(source, NormalizeSettings(image_size=size), workspace)
    planted = {("near", f"test/cat/2{number}", f"train/cat/0{number}") for number in range(6)}
    assert found(audit.audit(cache, workspace), cache) == planted


def test_every_exact_copy_leaks(tmp_path: Path, workspace: Workspace) -> None:
    """Three in train, two in val, two in test, all of one content: seven images, all on both sides."""
    pictures = plain()
    copies = [f"{split}/cat/{number}" for split in SPLITS for number in (60, 61)] + ["train/cat/62"]
    pictures |= dict.fromkeys(copies, scenes(1, seed=9)[0])
    made, cache = audited(tmp_path / "animals", pictures, workspace)
    assert leaking(made, cache) == set(copies)
    assert {kind for kind, _, _ in found(made, cache)} == {"exact"}
    assert len(found(made, cache)) == len(copies) - 1
    assert audit.read(made)["leaks"] == 2


def test_copies_of_a_near_duplicate_leak_too(tmp_path: Path, workspace: Workspace) -> None:
    pictures = plain()
    pictures |= dict.fromkeys(("test/cat/70", "test/cat/71"), recompressed(pictures["train/cat/05"], 50))
    pictures["train/cat/72"] = pictures["train/cat/05"]
    made, cache = audited(tmp_path / "animals", pictures, workspace)
    assert leaking(made, cache) == {"test/cat/70", "test/cat/71", "train/cat/05", "train/cat/72"}


def test_pairs_come_the_most_alike_first(tmp_path: Path, workspace: Workspace) -> None:
    pictures = plain()
    for number in range(5):
        pictures[f"test/cat/3{number}"] = recompressed(pictures[f"train/cat/0{number}"], 60)
    pictures["test/dog/40"] = pictures["train/dog/00"]
    made, _ = audited(tmp_path / "animals", pictures, workspace)
    table = duplicate_table.read(made).to_pandas()
    assert table["distance"].is_monotonic_increasing
    assert table["kind"].tolist() == ["exact"] + ["near"] * 5
    assert table["distance"].between(0, 1).all()


def test_small_pictures_are_only_searched_for_exact_copies(workspace: Workspace) -> None:
    source = acquire.acquire(SourceSettings("digits"), workspace)
    made = audit.audit(normalize.normalize(source, NormalizeSettings(), workspace), workspace)
    assert set(audit.read(made)["duplicates"]["near"]) == set()


def outliers(made: Audit, cache: TensorCache) -> dict[str, str]:
    """Kind by path."""
    table = pd.read_parquet(made.directory / audit.OUTLIERS)
    return {paths(cache)[row.split, row.row]: row.kind for row in table.itertuples()}


def test_outliers_by_light(tmp_path: Path, workspace: Workspace) -> None:
    pictures = plain()
    dark = (scenes(1, seed=3)[0] // 20).astype(np.uint8)
    pictures |= {"train/cat/80": np.full((32, 32, 3), 128, np.uint8), "train/cat/81": dark}
    made, cache = audited(tmp_path / "animals", pictures, workspace)
    assert outliers(made, cache) == {"train/cat/80": "empty", "train/cat/81": "brightness"}
    assert audit.read(made)["outliers"] == {"empty": 1, "brightness": 1, "size": 0, "enlarged": 0}


def test_outliers_by_size(tmp_path: Path, workspace: Workspace) -> None:
    """Most are 40 to 59 pixels a side; one is a strip, one tiny, one of them all ten times as large."""
    made_up = iter(range(40, 60))
    pictures = {}
    for path, picture in plain().items():
        side = next(made_up, None) or 50
        pictures[path] = np.asarray(Image.fromarray(picture).resize((side, side)))
    huge, tiny, strip = scenes(3, seed=8, side=300)
    pictures |= {"test/cat/90": huge, "test/cat/91": tiny[:20, :20], "test/cat/92": strip[:20]}
    made, cache = audited(tmp_path / "animals", pictures, workspace)
    table = pd.read_parquet(made.directory / audit.OUTLIERS)
    table["path"] = [paths(cache)[row.split, row.row] for row in table.itertuples()]
    sizes = table[table["kind"] == "size"]
    assert {"test/cat/90", "test/cat/91", "test/cat/92"} <= set(sizes["path"])
    assert set(table.loc[table["kind"] == "enlarged", "path"]) == {"test/cat/91", "test/cat/92"}
    strips = sizes[sizes["path"] == "test/cat/92"]
    assert strips[["height", "width"]].to_numpy().tolist() == [[20, 300]]


def test_light_is_the_luma_of_bt_601() -> None:
    images = np.array([[[[255, 0, 0]]], [[[0, 255, 0]]], [[[0, 0, 255]]]], np.uint8)
    assert Brightness.of(images).mean == pytest.approx([76.245, 149.685, 29.07], abs=1e-3)


def test_uneven_classes_are_told(tmp_path: Path, workspace: Workspace) -> None:
    pictures = {
        path: picture
        for path, picture in plain().items()
        if not (path.startswith("train/dog") and path > "train/dog/05")
    }
    made, _ = audited(tmp_path / "animals", pictures, workspace)
    assert made.findings == ("uneven classes in train: 35 images of cat, 6 of dog",)


def test_an_audit_is_made_once(tmp_path: Path, workspace: Workspace) -> None:
    made, cache = audited(tmp_path / "animals", plain(), workspace)
    before = made.manifest["created"], (made.directory / audit.NAME).stat().st_ino
    again = audit.audit(cache, workspace)
    assert (again.manifest["created"], (again.directory / audit.NAME).stat().st_ino) == before
