"""Both recipes from a network of keras.applications, with random weights from a local server."""

import hashlib
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from tasks.core.config import EmbedSettings, NormalizeSettings, RecipeName, SourceSettings, TrainSettings
from tasks.core.data.sources.acquire import acquire
from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.data.tensors.normalize import normalize
from tasks.core.model.backbones import catalog, keras_application
from tasks.core.model.features import embed
from tasks.core.model.training import train
from tasks.core.stage.handles import TrainedModel
from tasks.core.workspace import Workspace
from tests.support.servers.faulty_server import FaultyServer
from tests.support.synthetic_photos import scenes

pytestmark = pytest.mark.stress

SIZE = 64
NAME = "mobilenetv3-small"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    """40 photos of two classes; while it is used, the backbone has random weights from a local server."""
    root = tmp_path_factory.mktemp("photos")
    for number, picture in enumerate(scenes(40, side=SIZE)):
        path = root / "photos" / ("even" if number % 2 == 0 else "odd") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    keras.utils.set_random_seed(0)
    keras_application.original("MobileNetV3Small", SIZE).save(root / "net.h5")
    content = (root / "net.h5").read_bytes()
    with FaultyServer(content) as server, pytest.MonkeyPatch.context() as patch:
        file = RemoteFile("net.h5", (server.address(),), 0, "", hashlib.md5(content).hexdigest())
        patch.setenv("PLUMBLINE_CACHE", str(root / "cache"))
        patch.setitem(catalog.BACKBONES, NAME, replace(catalog.MOBILENETV3_SMALL, weights=file))
        yield root / "photos"


def trained(folder: Path, workspace: Workspace, recipe: RecipeName) -> TrainedModel:
    raw = acquire(SourceSettings(str(folder)), workspace)
    tensors = normalize(raw, NormalizeSettings(), workspace)
    features = embed.embed(raw, tensors, EmbedSettings(NAME, SIZE), workspace)
    settings = TrainSettings(recipe=recipe, backbone=NAME, epochs=1)
    return train.train(tensors, settings, workspace, features=features, raw=raw)


@pytest.mark.parametrize("recipe", [RecipeName.probe, RecipeName.finetune])
def test_equal_trainings_publish_equal_bytes_with_their_notice(
    recipe: RecipeName, folder: Path, tmp_path: Path, workspace: Workspace
) -> None:
    model = trained(folder, workspace, recipe)
    directory, content = model.directory, (model.directory / "model.keras").read_bytes()
    opened = keras.models.load_model(directory / "model.keras", safe_mode=True)
    probabilities = np.asarray(opened(scenes(3, side=SIZE)))
    assert probabilities.shape == (3, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    notice = (directory / "NOTICE.txt").read_text()
    assert "MobileNetV3-Small" in notice
    assert "MD5" in notice
    assert "Apache License" in (directory / "LICENSE-backbone.txt").read_text()
    assert model.manifest["facts"]["backbone"]["weights_md5"] in notice
    again = trained(folder, Workspace.open(tmp_path / "again"), recipe)
    assert (again.directory / "model.keras").read_bytes() == content
