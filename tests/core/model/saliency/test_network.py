"""Class activation maps: they add up to the logit, lie where the features lie, and follow the weights."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import softmax
from scipy.stats import spearmanr

from tasks.core.config import RecipeName
from tasks.core.model.architectures import build
from tasks.core.model.backbones import catalog
from tasks.core.model.backbones import network as backbones
from tasks.core.model.export import inference_model
from tasks.core.model.saliency import network
from tasks.core.model.transfer import published
from tasks.core.model.transfer.head import Head, fit
from tasks.core.recipes import RECIPES
from tests.support.synthetic_photos import scenes

pytestmark = pytest.mark.slow

CLASSES = 3
PHOTOS = scenes(4, side=48)
LABELS = np.tile(np.arange(CLASSES), (len(PHOTOS), 1))


def conv(filters: int, stride: int = 1, activation: str = "relu") -> keras.layers.Layer:
    return keras.layers.Conv2D(filters, 3, stride, "same", activation=activation, bias_initializer="uniform")


def backbone(*layers: keras.layers.Layer, side: int = 48, seed: int = 0) -> keras.Model:
    """From photos to features, averaged over the map of the last layer."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((side, side, 3), dtype="uint8")
    values = keras.layers.Rescaling(1 / 255)(inputs)
    for layer in layers or (conv(8, 2), conv(16, 2)):
        values = layer(values)
    return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(values), name="backbone")


def classifier(features: keras.Model, views: int = 2, seed: int = 1) -> keras.Model:
    """The published model of a backbone and a random head."""
    generator = np.random.default_rng(seed)
    kernel = generator.normal(size=(features.output_shape[1], CLASSES)).astype(np.float32)
    bias = generator.normal(size=CLASSES).astype(np.float32)
    head = Head(kernel, bias, 1.0, np.empty((0, CLASSES), np.float32))
    return published.build_published(features, head, views, temperature=1.7)


def whitened(name: RecipeName, side: int = 32) -> tuple[keras.Model, NDArray[np.uint8]]:
    """The published model of a recipe that trains from scratch, with random weights and biases."""
    photos = scenes(4, side=side)
    model = inference_model.build_inference_model(
        RECIPES[name], build.build(RECIPES[name], photos, CLASSES, seed=0), temperature=1.3
    )
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel, bias = layer.get_weights()
            layer.set_weights([kernel, generator.normal(0, 0.1, bias.shape)])
    return model, photos


def assert_adds_up(model: keras.Model, photos: NDArray[np.uint8], found: network.ClassMaps) -> None:
    """The logits give the model's own probabilities, and the maps and constants give the logits."""
    np.testing.assert_allclose(softmax(found.logits, axis=1), model(photos), atol=2e-6)
    sums = found.maps.sum((2, 3)) + found.constants
    np.testing.assert_allclose(sums, found.logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("views", [1, 2])
def test_map_of_averaged_features_is_the_cam_and_adds_up_to_the_logit(views: int) -> None:
    features = backbone()
    model = classifier(features, views)
    found = network.cut(model)
    assert (found.layer, found.views) == (features.layers[-2].name, views)
    mapped = found.maps(PHOTOS, LABELS)
    assert_adds_up(model, PHOTOS, mapped)
    # Zhou et al. (2016): features of each cell times the weights of the class, over the number of cells.
    last = keras.Model(features.inputs, features.layers[-2].output)
    cells = [np.asarray(last(PHOTOS)), np.asarray(last(PHOTOS[:, :, ::-1]))[:, :, ::-1]][:views]
    kernel = model.get_layer("logits").get_weights()[0] / 1.7
    expected = np.moveaxis(np.mean(cells, axis=0) @ kernel / cells[0][0, ..., 0].size, 3, 1)
    np.testing.assert_allclose(mapped.maps, expected, atol=1e-5)


@pytest.mark.parametrize("name", [RecipeName.flash, RecipeName.fast, RecipeName.good, RecipeName.better])
def test_map_of_a_maximum_adds_up_to_the_logit(name: RecipeName) -> None:
    model, photos = whitened(name)
    found = network.cut(model, min_side=3)
    mapped = found.maps(photos, LABELS)
    assert_adds_up(model, photos, mapped)
    assert np.abs(mapped.constants).max() == 0  # the head has no bias


@pytest.mark.parametrize("name", [RecipeName.textbook, RecipeName.fast, RecipeName.good])
def test_earlier_map_adds_up_but_for_the_biases_that_follow(name: RecipeName) -> None:
    model, photos = whitened(name)
    layer = network.cut(model).layer
    assert min(model.get_layer(layer).output.shape[1:3]) >= 7
    assert not np.allclose(*sums_and_logits(model, photos), atol=1e-2)
    following = model.layers[model.layers.index(model.get_layer(layer)) + 1 :]
    for later in following:
        if later.get_weights():
            kernel, *biases = later.get_weights()
            later.set_weights([kernel, *(np.zeros_like(bias) for bias in biases)])
    np.testing.assert_allclose(*sums_and_logits(model, photos), rtol=1e-4, atol=1e-4)


def sums_and_logits(
    model: keras.Model, photos: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mapped = network.cut(model).maps(photos, LABELS)
    np.testing.assert_allclose(softmax(mapped.logits, axis=1), model(photos), atol=2e-6)
    return mapped.maps.sum((2, 3)), mapped.logits


def test_votes_lie_where_the_features_are_in_both_views() -> None:
    """Features of green: the only green square decides, and its mirror image is mirrored back."""
    features = backbone(conv(1, 1, "relu"), keras.layers.AveragePooling2D(4))
    kernel = np.zeros((3, 3, 3, 1), np.float32)
    kernel[1, 1, :, 0] = [-1, 1, -1]
    features.layers[2].set_weights([kernel, np.zeros(1, np.float32)])
    photo = np.zeros((1, 48, 48, 3), np.uint8)
    photo[0, 8:16, 36:44, 1] = 255
    (maps,) = network.cut(classifier(features)).maps(photo, LABELS[:1, :1]).maps[0]
    assert maps.shape == (12, 12)
    rows, columns = np.nonzero(np.abs(maps) > 1e-6)
    assert (set(rows), set(columns)) == ({2, 3}, {9, 10})


def test_coarse_maps_and_pixels_are_no_maps() -> None:
    assert network.cut(whitened(RecipeName.fast, side=8)[0]) is None
    assert network.cut(classifier(backbone(conv(4, 8)))) is None  # 6x6
    assert network.cut(classifier(backbone(conv(4, 7)))).layer.startswith("conv")  # 7x7
    assert network.cut(classifier(backbone(keras.layers.Activation("relu")))) is None


def test_map_that_features_pass_beside_is_not_used() -> None:
    inputs = keras.Input((48, 48, 3), dtype="uint8")
    first = conv(8, 2)(keras.layers.Rescaling(1 / 255)(inputs))
    second = conv(8)(first)
    pooled = [keras.layers.GlobalAveragePooling2D()(values) for values in (first, second)]
    model = classifier(keras.Model(inputs, keras.layers.Concatenate()(pooled), name="backbone"))
    found = network.cut(model)
    assert found.layer == model.get_layer("backbone").layers[2].name
    np.testing.assert_allclose(softmax(found.maps(PHOTOS, LABELS).logits, axis=1), model(PHOTOS), atol=2e-6)


@pytest.mark.parametrize("any_size", [False, True])
@pytest.mark.parametrize("sequential", [False, True])
def test_networks_in_the_backbone_are_searched(sequential: bool, any_size: bool) -> None:
    """As `--backbone FILE.keras` builds them: a network of the user within the backbone."""
    inner = [conv(8, 2), conv(16, 2), keras.layers.GlobalAveragePooling2D()]
    given = keras.Input((None, None, 3) if any_size else (48, 48, 3))
    values = given
    for layer in inner:
        values = layer(values)
    user = keras.Sequential([given, *inner]) if sequential else keras.Model(given, values)
    inputs = keras.Input((48, 48, 3), dtype="uint8")
    outputs = keras.layers.Activation("linear")(user(keras.layers.Rescaling(1 / 255)(inputs)))
    model = classifier(keras.Model(inputs, outputs, name="backbone"))
    found = network.cut(model)
    assert found.layer == inner[1].name
    assert_adds_up(model, PHOTOS, found.maps(PHOTOS, LABELS))


# The sanity check of J. Adebayo et al., "Sanity Checks for Saliency Maps" (NeurIPS 2018): a map of what a
# model has learned changes when its weights are random.
Mapping = Callable[[keras.Model], NDArray[np.float32]]
SCENES = scenes(6, side=224)
SCENES[2:4, ..., 0] //= 2
SCENES[4:, :, ::8] //= 2
CASTS = np.repeat(np.arange(CLASSES), 2)


def trained() -> keras.Model:
    """A linear probe of a pretrained backbone, fitted to scenes of three casts."""
    features = backbones.build(catalog.find("efficientnet-lite0"), 224)
    head = fit(np.asarray(features(SCENES)), CASTS.astype(np.int32), CLASSES)
    return published.build_published(features, head, 1, temperature=1.0)


def shuffled(model: keras.Model, part: str) -> keras.Model:
    """The model with the weights of its head, or of its backbone's last layers, in a random order."""
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    last = other.get_layer("backbone").layers[-8:] if part == "backbone" else [other.get_layer("logits")]
    for layer in last:
        layer.set_weights([np.random.default_rng(0).permuted(values) for values in layer.get_weights()])
    return other


def class_maps(model: keras.Model) -> NDArray[np.float32]:
    return network.cut(model).maps(SCENES, CASTS[:, None]).maps[:, 0]


def edges(model: keras.Model) -> NDArray[np.float32]:
    """Looks like a map, and is only where the picture has edges: the counter-example."""
    grey = SCENES.mean(axis=3)
    strength = np.hypot(ndimage.sobel(grey, 1), ndimage.sobel(grey, 2))
    return strength.reshape(len(SCENES), 7, 32, 7, 32).mean((2, 4))


def assert_follows_the_weights(mapping: Mapping, model: keras.Model, randomised: keras.Model) -> None:
    """The mean rank correlation of the maps before and after falls, from 1, below a half."""
    before, after = (mapping(each).reshape(len(SCENES), -1) for each in (model, randomised))
    correlations = [spearmanr(*pair).statistic for pair in zip(before, after, strict=True)]
    assert np.mean(correlations) < 0.5, f"{np.mean(correlations):.2f}"


def test_map_changes_with_randomised_weights_and_an_edge_detector_does_not() -> None:
    model = trained()
    assert_adds_up(model, SCENES[:2], network.cut(model).maps(SCENES[:2], LABELS[:2]))
    for part in ("head", "backbone"):
        assert_follows_the_weights(class_maps, model, shuffled(model, part))
    with pytest.raises(AssertionError, match=r"^1\.00"):
        assert_follows_the_weights(class_maps, model, model)
    with pytest.raises(AssertionError, match=r"^1\.00"):
        assert_follows_the_weights(edges, model, shuffled(model, "backbone"))
