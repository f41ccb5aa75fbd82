import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.readers import factory
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.evaluation import label_issues
from tasks.core.review.items import (
    CONTROL,
    DUPLICATE,
    LABEL_ISSUE,
    MISTAKE,
    MISTAKES,
    Item,
    ReviewInputs,
    choose,
)
from tasks.core.review.pictures import Pictures
from tasks.core.workspace import Workspace
from tests.support.sample_files import photos


@pytest.fixture
def inputs(fake) -> ReviewInputs:
    """Two models of equal skill with different mistakes."""
    models = {name: fake.evaluation(name, 2.0, seed) for seed, name in enumerate(("v0001", "v0002"))}
    issues = [
        label_issues.find_label_issues(model, fake.tensors(), None, fake.workspace)
        for model in models.values()
    ]
    return ReviewInputs(fake.tensors(), models, issues, fake.audit())


def test_every_model_gives_equally_many_mistakes(fake) -> None:
    models = {name: fake.evaluation(name, 2.0, seed) for seed, name in enumerate(("v0001", "v0002"))}
    items = choose(ReviewInputs(fake.tensors(), models), most=1000)
    listed = [item for item in items if MISTAKE in item.lists and item.split == "test"]
    wrong = {
        name: sum(item.predictions[number].class_name != item.class_name for item in listed)
        for number, name in enumerate(models)
    }
    assert min(wrong.values()) >= MISTAKES
    assert len(listed) <= 2 * MISTAKES
    for item in listed:
        assert [prediction.model for prediction in item.predictions] == ["v0001", "v0002"]
        assert any(prediction.class_name != item.class_name for prediction in item.predictions)


def test_controls_are_on_no_list_and_of_the_same_splits(inputs: ReviewInputs) -> None:
    items = choose(inputs, most=1000)
    controls = [item for item in items if CONTROL in item.lists]
    listed = [item for item in items if CONTROL not in item.lists]
    assert {LABEL_ISSUE, MISTAKE} <= {name for item in listed for name in item.lists}
    for split in ("test", "val"):
        count = sum(item.split == split for item in listed)
        assert sum(item.split == split for item in controls) == -(-count // 4)
    assert all(item.lists == (CONTROL,) for item in controls)
    assert len({item.key for item in items}) == len(items)


def test_order_is_fixed_and_says_nothing_about_the_list(inputs: ReviewInputs) -> None:
    items = choose(inputs, most=60)
    assert len(items) == 60
    assert [item.key for item in items] == [item.key for item in choose(inputs, most=60)]
    assert [item.order for item in items] == sorted(item.order for item in items)
    again = choose(inputs, 60, lambda item: item.key == items[0].key)
    assert items[0].key not in {item.key for item in again}
    shared = {item.key for item in items} & {item.key for item in again}
    assert [i.key for i in items if i.key in shared] == [i.key for i in again if i.key in shared]


def test_near_duplicates_with_other_labels_are_shown_side_by_side(fake, inputs: ReviewInputs) -> None:
    """The audit's pairs: the first train image with the second test image, and the first two val images."""
    labels = {split: fake.labels(split) for split in ("train", "val", "test")}
    differ = [labels["train"][0] != labels["test"][1], labels["val"][0] != labels["val"][1]]
    items = choose(ReviewInputs(fake.tensors(), {}, audit=fake.audit()))
    shown = [item for item in items if DUPLICATE in item.lists]
    assert any(differ)
    assert len(shown) == 2 * sum(differ)
    for item in shown:
        assert item.partner is not None
        assert item.partner.class_name != item.class_name


def test_one_file_in_two_classes_is_asked_once_without_a_given_label(
    tmp_path: Path, workspace: Workspace
) -> None:
    folder = photos(tmp_path / "animals", {"cat": 12, "dog": 12})
    copied = folder / "cat" / sorted(path.name for path in (folder / "cat").iterdir())[0]
    (folder / "dog" / "copy.png").write_bytes(copied.read_bytes())
    raw = acquire.acquire(SourceSettings(str(folder)), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(max_quarantine=0.5), workspace)
    reader = factory.open_raw(raw)
    (item,) = choose(ReviewInputs(tensors, {}, reader=reader))
    assert (item.class_name, item.split, item.lists) == ("", "", (DUPLICATE,))
    assert "cat (cat/" in item.note
    assert "dog (dog/copy.png)" in item.note
    media_type, picture = Pictures([item], tensors, reader).encoded(item, 1000)
    assert media_type.startswith("image/")
    assert picture


def test_pictures_are_the_originals_else_the_tensors(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "animals"
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.random.default_rng([label, number]).integers(0, 256, (150, 300, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    raw = acquire.acquire(SourceSettings(str(folder)), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(image_size=16), workspace)
    row = pd.read_parquet(tensors.directory / "rows.parquet").query("split == 'test' and row == 0").iloc[0]
    item = Item(row["image_id"], row["path"], row["class_name"], (CONTROL,), "test", 0)
    pictures = Pictures([item], tensors, factory.open_raw(raw))
    assert size_of(pictures.encoded(item, 1000)[1]) == (300, 150)
    assert size_of(pictures.encoded(item, 100)[1]) == (100, 50)
    (folder / item.path).unlink()
    assert size_of(pictures.encoded(item, 1000)[1]) == (16, 16)
    assert size_of(Pictures([item], tensors, None).encoded(item, 1000)[1]) == (16, 16)


def size_of(content: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(content)).size
