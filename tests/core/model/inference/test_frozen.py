"""Predictions from features that are kept, against `model.keras` on the photos themselves."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tasks.core.config import EmbedSettings, NormalizeSettings, RecipeName, SourceSettings, TrainSettings
from tasks.core.data.loader import originals
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.model.features import embed
from tasks.core.model.inference import frozen, predict_splits
from tasks.core.model.training import train
from tasks.core.workspace import Workspace
from tests.support.scenery import write_scenery

pytestmark = pytest.mark.slow


def test_predictions_of_a_frozen_backbone_are_those_of_keras(workspace: Workspace, tmp_path: Path) -> None:
    folder = write_scenery(tmp_path / "scenery", per_class=10)
    raw = acquire.acquire(SourceSettings(str(folder)), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(), workspace)
    features = embed.embed(raw, tensors, EmbedSettings("efficientnet-lite0", 64), workspace)
    settings = TrainSettings(recipe=RecipeName.probe)
    trained = train.train(tensors, settings, workspace, features=features)
    assert frozen.kind_of(trained, raw) is not None
    assert frozen.kind_of(trained, None) is None

    predicted = predict_splits.predict_splits(trained, tensors, workspace, raw)
    found = np.load(predicted.directory / "test.probabilities.npy")
    model = keras.models.load_model(trained.directory / "model.keras")
    photos = originals.open_images(tensors, "test", trained, raw)[:]
    assert photos.shape[1:] == (64, 64, 3)
    expected = model.predict(photos, verbose=0)
    assert np.abs(found - expected).max() < 1e-5


def test_originals_are_the_decoded_files_in_the_order_of_the_rows(
    workspace: Workspace, tmp_path: Path
) -> None:
    from tasks.core.data.decode import Target, decode
    from tasks.core.data.tensors.cache import read_rows

    folder = write_scenery(tmp_path / "scenery", per_class=8)
    raw = acquire.acquire(SourceSettings(str(folder)), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(image_size=32), workspace)
    reader = originals.factory.open_raw(raw)
    numbers = originals.numbers_of(reader.index(), tensors, "train")
    images = originals.OriginalImages(reader, numbers, Target((48, 48), 3))
    paths = read_rows(tensors, ["path"], "train")["path"].to_pylist()
    expected = [decode((folder / path).read_bytes(), Target((48, 48), 3))[0] for path in paths]
    assert np.array_equal(images[:], np.stack(expected))
    assert np.array_equal(images[np.array([3, 1, 3])], np.stack([expected[n] for n in (3, 1, 3)]))
    assert np.array_equal(images[2], expected[2])
