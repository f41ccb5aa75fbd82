"""Two projects with folders of one name in a workspace: neither is compared with, or replaces, the other."""

import shutil
from pathlib import Path

import pytest

from tasks.core.config import SourceSettings
from tasks.core.data.sources.acquire import acquire
from tasks.core.errors import UsageError
from tasks.core.registry import registry
from tasks.core.registry.source_identity import ROOT, check_source_identity
from tasks.core.stage.handles import RawDataset
from tests.support.sample_files import photos


def listed(fake, path: Path, name: str | None = None) -> RawDataset:
    return acquire(SourceSettings(dataset=str(path), name=name), fake.workspace)


def publish(fake, raw: RawDataset, text: str = "one", **facts: object) -> None:
    given = {
        "classes": ["cat", "dog"],
        "shape": [8, 8, 3],
        "parameters": {"dataset": raw.root},
        "stages": {"download": {"digest": raw.digest}},
        ROOT: raw.root,
        **facts,
    }
    registry.publish(fake.trained(text), fake.evaluation(text, 2.0), raw.dataset, given, fake.workspace)


@pytest.fixture
def pets(fake, tmp_path: Path) -> Path:
    folder = photos(tmp_path / "one" / "pets", {"cat": 3, "dog": 3})
    publish(fake, listed(fake, folder))
    return folder


@pytest.mark.parametrize("classes", [("cat", "dog"), ("axle", "bolt")])
def test_other_images_of_the_same_name_are_refused_with_the_option(
    fake, pets: Path, tmp_path: Path, classes: tuple[str, str]
) -> None:
    other = photos(tmp_path / "two" / "pets", dict.fromkeys(classes, 3), seed=100)
    with pytest.raises(UsageError, match="pets is already the name of other images") as error:
        check_source_identity(listed(fake, other), None, fake.workspace)
    assert str(pets) in error.value.parts["expected"]
    assert str(other) in error.value.parts["found"]
    assert "--name" in error.value.parts["to do"]
    check_source_identity(listed(fake, other, "pets-two"), "pets-two", fake.workspace)  # a name of its own
    check_source_identity(listed(fake, other, "pets"), "pets", fake.workspace)  # the user says it is the same


def test_same_place_with_other_images_is_the_same_dataset(fake, pets: Path) -> None:
    shutil.rmtree(pets)
    photos(pets, {"cat": 3, "dog": 3}, seed=200)
    check_source_identity(listed(fake, pets), None, fake.workspace)


@pytest.mark.parametrize("lost", ["model.keras", "manifest.json"])
def test_damaged_version_does_not_end_a_training(fake, pets: Path, tmp_path: Path, lost: str) -> None:
    publish(fake, listed(fake, pets), "two")
    (fake.workspace.models / "pets" / "v0001" / lost).unlink()
    check_source_identity(listed(fake, pets), None, fake.workspace)
    other = photos(tmp_path / "two" / "pets", {"cat": 3, "dog": 3}, seed=100)
    with pytest.raises(UsageError, match="pets is already the name of other images"):
        check_source_identity(listed(fake, other), None, fake.workspace)


def test_moved_folder_that_grew_is_the_same_dataset(fake, pets: Path, tmp_path: Path) -> None:
    moved = tmp_path / "archive" / "2027" / "pets"
    shutil.copytree(pets, moved)
    photos(moved, {"cat": 5}, seed=300)
    shutil.rmtree(pets)
    check_source_identity(listed(fake, moved), None, fake.workspace)


def test_first_source_of_a_name_is_not_compared(fake, tmp_path: Path) -> None:
    raw = listed(fake, photos(tmp_path / "pets", {"cat": 1, "dog": 1}))
    check_source_identity(raw, None, fake.workspace)


def test_where_no_listing_is_left_the_classes_decide(fake, tmp_path: Path) -> None:
    """A workspace of an earlier version, or one from which `raw/` was removed."""
    raw = listed(fake, photos(tmp_path / "one" / "pets", {"cat": 2, "dog": 2}))
    publish(fake, raw, **{ROOT: None})
    shutil.rmtree(raw.directory)
    same = listed(fake, photos(tmp_path / "two" / "pets", {"cat": 2, "dog": 2}, seed=100))
    check_source_identity(same, None, fake.workspace)
    other = listed(fake, photos(tmp_path / "three" / "pets", {"axle": 2, "bolt": 2}, seed=200))
    with pytest.raises(UsageError, match="other images"):
        check_source_identity(other, None, fake.workspace)
