"""Evaluation sets: which images of a folder a version is scored on. Counts are by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.evaluation_set.labelled import LabelledSettings, labelled
from tasks.core.data.files.class_names import any_classes
from tasks.core.data.sources.acquire import acquire
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.data.tensors.normalize import normalize
from tasks.core.errors import DataError, QuarantineError
from tasks.core.stage import publish
from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import ModelVersion, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace
from tests.support.sample_files import encoded, noise, photos, put

CLASSES = ("ant", "bee")


@pytest.fixture
def trained_on(workspace: Workspace, tmp_path: Path) -> TensorCache:
    """Tensors of 4 train, 2 val and 2 test images of each class, 16 pixels a side."""
    counts = {
        f"{split}/{name}": number
        for split, number in (("train", 4), ("val", 2), ("test", 2))
        for name in CLASSES
    }
    raw = acquire(SourceSettings(dataset=str(photos(tmp_path / "own", counts, size=16))), workspace)
    return normalize(raw, NormalizeSettings(image_size=16), workspace)


def version_of(
    workspace: Workspace,
    tensors: str,
    classes: tuple[str, ...] = CLASSES,
    shape: tuple[int, int, int] = (16, 16, 3),
) -> ModelVersion:
    """A version whose manifest says how it takes images; it has no model."""
    facts = {"classes": list(classes), "shape": list(shape), "fit": "crop", "tensors": tensors}
    directory = workspace.models / "own" / "v0001"
    manifest = publish.publish(directory, Ingredients("publish", {}, facts), lambda _: facts)
    return ModelVersion(workspace.relative(directory), manifest["digest"], "0" * 64, "own", "v0001")


def evaluated(
    folder: Path, version: ModelVersion, workspace: Workspace, settings: LabelledSettings | None = None
) -> EvaluationSet:
    with any_classes():
        raw = acquire(SourceSettings(dataset=str(folder)), workspace)
    return labelled(raw, version, settings or LabelledSettings(), workspace)


def paths(images: EvaluationSet) -> set[str]:
    return set(read_rows(images, ["path"], "test")["path"].to_pylist())


def test_new_images_are_scored_with_the_labels_of_the_version(
    workspace: Workspace, trained_on: TensorCache, tmp_path: Path
) -> None:
    """The version has the classes in another order, and one that the folder lacks."""
    version = version_of(workspace, trained_on.digest, ("wasp", "bee", "ant"))
    images = evaluated(photos(tmp_path / "new", {"ant": 3, "bee": 2}, seed=500), version, workspace)
    rows = pd.read_parquet(images.directory / "rows.parquet")
    assert (images.test, images.source_images, images.remarks()) == (5, 5, [])
    assert images.classes == ("wasp", "bee", "ant")
    assert sorted(rows["label"]) == sorted(open_split(images, "test").labels) == [1, 1, 2, 2, 2]
    assert set(rows[rows["label"] == 2]["class_name"]) == {"ant"}


def test_images_are_decoded_as_the_version_takes_them(
    workspace: Workspace, trained_on: TensorCache, tmp_path: Path
) -> None:
    """Grey, and of another size than its tensors: only the bytes of files can be compared."""
    folder = tmp_path / "new"
    pixels = np.full((30, 30, 3), (10, 200, 90), np.uint8)
    put(folder / "ant" / "a.png", encoded(pixels))
    images = evaluated(folder, version_of(workspace, trained_on.digest, shape=(8, 8, 1)), workspace)
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((8, 8)))
    decoded = open_split(images, "test").images[0, ..., 0]
    assert images.shape == (8, 8, 1)
    assert np.abs(decoded.astype(int) - grey).max() <= 1
    assert images.remarks() == [
        "what the version has seen: compared by the bytes of the files, not by pixels: it takes images of"
        " another size than its tensors have"
    ]


def test_seen_images_are_left_out_and_counted(
    workspace: Workspace, trained_on: TensorCache, tmp_path: Path
) -> None:
    """All 16 own images, two of them saved again without loss, and 3 new ones."""
    folder = photos(tmp_path / "mixed", {"ant": 3}, seed=500)
    for source in sorted((tmp_path / "own").rglob("*.png")):
        split, name = source.parts[-3:-1]
        content = source.read_bytes()
        if source.name == "000.png" and name == "ant" and split != "test":
            content = encoded(Image.open(source), "PNG", compress_level=0)
        put(folder / name / f"{split}-{source.name}", content)
    images = evaluated(folder, version_of(workspace, trained_on.digest), workspace)
    assert (images.source_images, images.trained, images.chosen, images.own_test) == (19, 8, 4, 4)
    assert paths(images) == {
        *(f"ant/00{number}.png" for number in range(3)),
        *(f"{name}/test-00{number}.png" for name in CLASSES for number in range(2)),
    }
    stored = open_split(images, "test").images
    listed = read_rows(images, ["path"], "test")["path"].to_pylist()
    assert len(stored) == len(listed)
    for path, image in zip(listed, stored, strict=True):
        if "test" in path:  # the row is still that of its image, after rows were taken out
            assert np.array_equal(image, np.asarray(Image.open(folder / path)))


def test_only_seen_images_are_an_error(workspace: Workspace, trained_on: TensorCache, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="8 that it was trained on, 0 of its val images"):
        evaluated(tmp_path / "own" / "train", version_of(workspace, trained_on.digest), workspace)


def test_without_its_tensors_it_is_said_that_nothing_was_checked(
    workspace: Workspace, trained_on: TensorCache, tmp_path: Path
) -> None:
    images = evaluated(tmp_path / "own" / "train", version_of(workspace, "0" * 16), workspace)
    (remark,) = images.remarks()
    assert images.test == 8
    assert "not checked, because the tensors of its run are no longer in the workspace" in remark


def test_unknown_classes_are_counted_and_named(
    workspace: Workspace, trained_on: TensorCache, tmp_path: Path
) -> None:
    folder = photos(tmp_path / "new", {"ant": 3, "Bee": 1, "dog": 2}, seed=500)
    images = evaluated(folder, version_of(workspace, trained_on.digest), workspace)
    assert images.unknown == {"dog": 2, "Bee": 1}
    assert images.test == 3
    assert images.remarks() == [
        "left out: 3 images of classes that the version does not know: dog (2), Bee (1; perhaps its 'bee')"
    ]


def test_only_unknown_classes_are_an_error_that_names_both(
    workspace: Workspace, trained_on: TensorCache, tmp_path: Path
) -> None:
    folder = photos(tmp_path / "new", {"cat": 1, "dog": 2}, seed=500)
    with pytest.raises(DataError, match="labels among ant, bee") as error:
        evaluated(folder, version_of(workspace, trained_on.digest), workspace)
    assert "dog, cat" in str(error.value)


def test_one_split_of_the_source(workspace: Workspace, trained_on: TensorCache, tmp_path: Path) -> None:
    folder = photos(tmp_path / "new", {"train/ant": 3, "test/ant": 2}, seed=500)
    version = version_of(workspace, trained_on.digest)
    assert evaluated(folder, version, workspace).test == 5
    images = evaluated(folder, version, workspace, LabelledSettings("test"))
    assert (images.test, images.source_images) == (2, 2)
    with pytest.raises(DataError, match="the splits test, train"):
        evaluated(folder, version, workspace, LabelledSettings("val"))


def test_unreadable_images_and_two_labels_are_left_out(
    workspace: Workspace, trained_on: TensorCache, tmp_path: Path
) -> None:
    folder = photos(tmp_path / "new", {"ant": 3, "bee": 3}, seed=500)
    put(folder / "ant" / "bad.png", encoded(noise(1))[:60])
    for name in CLASSES:
        put(folder / name / "both.png", encoded(noise(2)))
    version = version_of(workspace, trained_on.digest)
    with pytest.raises(QuarantineError, match="3 of 9 images"):
        evaluated(folder, version, workspace)
    images = evaluated(folder, version, workspace, LabelledSettings(max_quarantine=0.5))
    reasons = pd.read_parquet(images.directory / "quarantine.parquet").set_index("path")["reason"]
    assert (images.test, images.quarantined) == (6, 3)
    assert sorted(reasons.index) == ["ant/bad.png", "ant/both.png", "bee/both.png"]
    assert reasons["ant/both.png"].startswith("in two classes")


def test_groups_that_the_version_has_seen_are_counted(workspace: Workspace, tmp_path: Path) -> None:
    """Groups p0 to p3 are in train, p8 is in test; the new folder has 2 images of p1, 1 of p8 and 1 of p9."""
    own = tmp_path / "grouped"
    for number, split in enumerate(["train"] * 4 + ["val"] * 4 + ["test"] * 2):
        for name in CLASSES:
            put(
                own / split / name / f"p{number}_{name}.png",
                encoded(noise(CLASSES.index(name) + 50 * number, 16, 16)),
            )
    settings = NormalizeSettings(image_size=16, group_by="(p[0-9]+)_")
    raw = acquire(SourceSettings(dataset=str(own)), workspace)
    version = version_of(workspace, normalize(raw, settings, workspace).digest)
    for number, name in enumerate(("p1_x", "p1_y", "p8_x", "p9_x")):
        put(tmp_path / "new" / "ant" / f"{name}.png", encoded(noise(900 + number, 16, 16)))
    images = evaluated(tmp_path / "new", version, workspace, LabelledSettings(group_by="(p[0-9]+)_"))
    assert images.groups == (0, 0, 3)
    assert images.shared_groups == 2
    assert str(images) == "4 images of 3 groups, 16x16x3"


def test_the_same_request_is_not_decoded_again(
    workspace: Workspace, trained_on: TensorCache, tmp_path: Path
) -> None:
    folder = photos(tmp_path / "new", {"ant": 2}, seed=500)
    version = version_of(workspace, trained_on.digest)
    first = evaluated(folder, version, workspace)
    assert evaluated(folder, version, workspace) == first
    assert first.manifest["created"] == evaluated(folder, version, workspace).manifest["created"]
