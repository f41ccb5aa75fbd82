"""Backbones of keras.applications against the networks that Keras builds, with random weights.

The tests write the weights in the published format, the HDF5 of Keras 2, and declare their MD5. A server of
this machine serves them.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tasks.core.config import Precision
from tasks.core.data.sources.catalog import RemoteFile
from tasks.core.errors import FormatError
from tasks.core.model.backbones import catalog, keras_application, network, plain
from tasks.core.model.backbones.declaration import Backbone
from tasks.core.model.export import keras_file
from tasks.core.model.features.extractor import Extractor
from tasks.core.model.features.kind import FeatureKind
from tasks.core.model.transfer import published
from tasks.core.model.transfer.head import Head
from tests.support.servers.faulty_server import FaultyServer
from tests.support.synthetic_photos import scenes

pytestmark = pytest.mark.slow

SIZE = 64
PHOTOS = scenes(4, side=SIZE)
NAMES = [name for name, backbone in catalog.BACKBONES.items() if backbone.constructor]
LARGE = ("convnext-tiny", "efficientnetv2-b0")  # take as long as the others together, each
PARAMETERS = [pytest.param(name, marks=pytest.mark.stress if name in LARGE else ()) for name in NAMES]


@dataclass(frozen=True)
class Served:
    """A backbone with random weights.

    Args:
        backbone: Its declaration, with the file's MD5 and the address of a local server.
        original: The network as Keras builds it, with these weights.
    """

    backbone: Backbone
    original: keras.Model


def randomized(constructor: str) -> keras.Model:
    """The network with random weights, and the batch norms' statistics of some photos."""
    keras.utils.set_random_seed(0)
    model, generator = keras_application.original(constructor, SIZE), np.random.default_rng(0)
    for layer in model.layers:
        if type(layer).__name__ == "LayerScale":  # begins with 1e-6
            layer.set_weights([generator.uniform(0.1, 0.3, weight.shape) for weight in layer.get_weights()])
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(generator.uniform(0.5, 1.5, layer.gamma.shape))
            layer.beta.assign(generator.normal(0, 0.2, layer.beta.shape))
            layer.momentum = 0.0  # one batch gives the statistics
    model(scenes(32, seed=1, side=SIZE).astype(np.float32), training=True)
    return model


@pytest.fixture(scope="module", params=PARAMETERS)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """Served by a local server and declared under its own name."""
    folder = tmp_path_factory.mktemp("weights")
    declared = catalog.BACKBONES[request.param]
    original = randomized(declared.constructor)
    original.save(folder / "net.h5")
    content = (folder / "net.h5").read_bytes()
    (folder / "net.h5").unlink()
    with FaultyServer(content) as server, pytest.MonkeyPatch.context() as patch:
        md5 = hashlib.md5(content).hexdigest()
        file = RemoteFile("net.h5", (server.address(),), 0, "", md5)
        backbone = replace(declared, weights=file)
        patch.setenv("PLUMBLINE_CACHE", str(folder / "cache"))
        patch.setitem(catalog.BACKBONES, request.param, backbone)
        yield Served(backbone, original)


@pytest.fixture(scope="module")
def built(served: Served) -> keras.Model:
    return network.build(served.backbone, SIZE)


def test_features_are_those_of_the_original_network(served: Served, built: keras.Model) -> None:
    expected = np.asarray(served.original(PHOTOS.astype(np.float32), training=False))
    features = np.asarray(built(PHOTOS))
    assert features.dtype == np.float32
    assert features.shape == (4, served.backbone.features)
    assert expected.std(axis=0).max() > 0.01  # the features tell the photos apart
    assert np.abs(features - expected).max() < 1e-4 * np.abs(expected).max()


def test_training_changes_no_statistics_and_nothing_in_the_network_is_random(
    served: Served, built: keras.Model
) -> None:
    layers = {type(layer).__name__ for layer in built.layers}
    assert not layers & {"BatchNormalization", "Dropout", "LayerScale"}
    assert not built.non_trainable_weights
    np.testing.assert_array_equal(built(PHOTOS, training=True), built(PHOTOS, training=False))


def test_layers_after_the_trunk_can_be_trained(served: Served, built: keras.Model) -> None:
    trunk = built.get_layer(served.backbone.trunk)
    lower, upper = keras.Model(built.input, trunk.output), keras.Model(trunk.output, built.output)
    maps = lower(PHOTOS)
    assert maps.shape[1:3] == (SIZE // 16, SIZE // 16)
    with tf.GradientTape() as tape:
        features = upper(maps, training=True)
    gradients = tape.gradient(features, upper.trainable_weights)
    assert all(gradient is not None for gradient in gradients)
    np.testing.assert_allclose(features, built(PHOTOS), atol=1e-5)
    assert 0.1 < upper.count_params() / built.count_params() < 0.9


def test_published_models_of_two_builds_are_byte_identical_and_open_with_keras_alone(
    served: Served, built: keras.Model, tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    kernel = generator.normal(size=(served.backbone.features, 3)).astype(np.float32)
    head = Head(kernel, np.zeros(3, np.float32), 1.0, np.zeros((0, 3), np.float32))
    for name, backbone in (("first", built), ("second", network.build(served.backbone, SIZE))):
        keras_file.write_keras(published.build_published(backbone, head, 2, 1.5), tmp_path / f"{name}.keras")
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()
    opened = keras.models.load_model(tmp_path / "first.keras", safe_mode=True)
    features = (np.asarray(built(PHOTOS)) + np.asarray(built(PHOTOS[:, :, ::-1]))) / 2
    logits = features @ kernel / 1.5
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(opened(PHOTOS), expected, rtol=1e-3, atol=1e-5)


def test_extractor_gives_the_features_in_bfloat16(served: Served, built: keras.Model) -> None:
    kind = FeatureKind(served.backbone.name, SIZE, 1, Precision.bfloat16, "crop")
    features = Extractor(kind)(PHOTOS)[:, 0]
    expected = np.asarray(built(PHOTOS))
    assert features.dtype == np.float16
    correlation = np.corrcoef(features.ravel().astype(np.float32), expected.ravel())[0, 1]
    assert 0.98 < correlation < 0.999999  # random weights enlarge the rounding more than trained ones


@pytest.mark.parametrize("value", [0, 255])
def test_features_are_finite_at_both_ends_of_uint8(value: int, built: keras.Model) -> None:
    assert np.isfinite(built(np.full((1, SIZE, SIZE, 3), value, np.uint8))).all()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    small = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    small.save(tmp_path / "other.h5")
    with pytest.raises(FormatError, match="does not fit mobilenetv3-small"):
        keras_application.build(catalog.MOBILENETV3_SMALL, tmp_path / "other.h5", SIZE)


def test_batch_norm_that_cannot_be_folded_keeps_its_statistics_in_training() -> None:
    inputs = keras.Input((SIZE, SIZE, 3))
    values = keras.layers.MaxPooling2D(8)(inputs)
    values = keras.layers.BatchNormalization()(values)
    original = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(values))
    rewritten = plain.rewritten(original, SIZE)
    before = rewritten.get_weights()
    expected = original(PHOTOS.astype(np.float32), training=False)
    np.testing.assert_allclose(rewritten(PHOTOS, training=True), expected, rtol=1e-5)
    for old, new in zip(before, rewritten.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
