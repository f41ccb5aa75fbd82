"""The saliency stage: what it publishes, of a trained model's own file."""

from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax

from tasks.core.config import EmbedSettings, NormalizeSettings, RecipeName, SourceSettings, TrainSettings
from tasks.core.data.loader import originals
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import open_split, read_rows
from tasks.core.errors import DataError
from tasks.core.model.features import embed
from tasks.core.model.saliency import reading, saliency
from tasks.core.model.training import train
from tasks.core.stage.handles import RawDataset, TensorCache
from tasks.core.workspace import Workspace
from tests.support.scenery import write_scenery

pytestmark = pytest.mark.slow

QUICK = TrainSettings(recipe=RecipeName.flash, epochs=1, batch_size=32)


def scenery(workspace: Workspace, folder: Path) -> tuple[RawDataset, TensorCache]:
    raw = acquire.acquire(SourceSettings(str(write_scenery(folder, per_class=8))), workspace)
    return raw, normalize.normalize(raw, NormalizeSettings(image_size=32), workspace)


def test_maps_of_a_model_that_is_trained_from_scratch(workspace: Workspace, tmp_path: Path) -> None:
    _, images = scenery(workspace, tmp_path / "scenery")
    model = train.train(images, QUICK, workspace)
    made = saliency.saliency(model, images, workspace)
    assert (made.rows, made.columns, made.adds_up) == (8, 8, False)
    table, maps = reading.read_table(made).to_pandas(), reading.read_maps(made)
    assert maps.shape == (len(table), 8, 8)
    assert made.images == table["picture"].nunique() == len(reading.read_pictures(made))
    first = table.groupby("picture").first()
    test = open_split(images, "test")
    assert (test.labels[first["row"]] == first["label"]).all()
    assert np.array_equal(reading.read_pictures(made), test.images[first["row"].to_numpy()])
    probabilities = keras.models.load_model(model.directory / "model.keras")(test.images).numpy()
    assert (probabilities[first["row"]].argmax(1) == first["predicted_label"]).all()
    expected = probabilities[table["row"], table["map_label"]]
    np.testing.assert_allclose(table["probability"], expected, atol=1e-5)
    assert saliency.saliency(model, images, workspace) == made


def write_backbone(path: Path) -> str:
    """A small network of photos of 48 pixels, with 12x12 cells, as a user might bring it."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((48, 48, 3), dtype="uint8")
    values = keras.layers.Rescaling(1 / 255)(inputs)
    for stride in (2, 2):
        values = keras.layers.Conv2D(16, 3, stride, "same", activation="relu")(values)
    keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(values)).save(path)
    return str(path)


def test_maps_of_a_model_of_another_size_are_of_its_own_images(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUMBLINE_CACHE", str(tmp_path / "cache"))
    raw, tensors = scenery(workspace, tmp_path / "scenery")
    backbone = write_backbone(tmp_path / "mine.keras")
    features = embed.embed(raw, tensors, EmbedSettings(backbone, 48), workspace)
    settings = TrainSettings(recipe=RecipeName.probe, backbone=backbone)
    model = train.train(tensors, settings, workspace, features=features)
    made = saliency.saliency(model, tensors, workspace, raw)
    assert (made.rows, made.columns, made.adds_up) == (12, 12, True)
    table, maps = reading.read_table(made).to_pandas(), reading.read_maps(made)
    np.testing.assert_allclose(maps.sum((1, 2)) + table["constant"], table["logit"], atol=1e-4)
    rows = table.groupby("picture")["row"].first().to_numpy()
    photos = originals.open_images(tensors, "test", model, raw)[rows]
    assert photos.shape[1:] == (48, 48, 3)
    assert np.array_equal(reading.read_pictures(made), photos)
    paths = read_rows(tensors, ["path"], "test")["path"].to_pylist()
    assert table["path"].tolist() == [paths[row] for row in table["row"]]


def test_small_images_have_no_maps(workspace: Workspace, tensors) -> None:
    images = tensors()
    made = saliency.saliency(train.train(images, QUICK, workspace), images, workspace)
    assert str(made) == "none: the network's maps are too coarse"
    assert [path.name for path in made.directory.iterdir()] == ["manifest.json"]


def test_probabilities_of_another_model_are_refused() -> None:
    logits = np.array([[2.0, 0.0, 1.0]], np.float32)
    saliency.check_probabilities(logits, softmax(logits, axis=1))
    with pytest.raises(DataError, match="not of the model that was evaluated"):
        saliency.check_probabilities(logits, softmax(logits, axis=1)[:, ::-1])
