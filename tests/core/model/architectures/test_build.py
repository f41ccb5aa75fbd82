"""The networks, and that the published plain Keras model computes the same."""

import random
import threading
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.config import RecipeName
from tasks.core.model.architectures import build
from tasks.core.model.architectures.layers import EPSILON, FusedBatchNorm
from tasks.core.model.export import inference_model, keras_file
from tasks.core.recipes import RECIPES, Recipe

pytestmark = pytest.mark.slow

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (96, 96, 3), (224, 224, 3), (20, 36, 3)]
FROM_SCRATCH = [name for name, recipe in RECIPES.items() if recipe.architecture != "backbone"]
WHITENED = [name for name, recipe in RECIPES.items() if recipe.architecture == "whitened"]


def random_images(shape: tuple[int, ...], count: int = 6) -> NDArray[np.uint8]:
    return np.random.default_rng(len(shape)).integers(0, 256, (count, *shape), np.uint8)


def built(recipe: Recipe, shape: tuple[int, ...], classes: int, seed: int = 0) -> keras.Model:
    """A network whose batch norms have random biases and statistics, as after training."""
    model = build.build(recipe, random_images(shape), classes, seed)
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, FusedBatchNorm):
            layer.bias.assign(generator.normal(size=layer.bias.shape))
            layer.mean.assign(generator.normal(size=layer.mean.shape))
            layer.variance.assign(generator.uniform(0.1, 3, layer.variance.shape))
    return model


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def views_of(images: NDArray[np.uint8], count: int) -> list[NDArray[np.uint8]]:
    """By NumPy: grey images have one view, and images with a side below 16 pixels are not moved."""
    if images.shape[3] == 1 or count == 1:
        return [images]
    moved = [images]
    if count == 6 and min(images.shape[1:3]) >= 16:
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        moved += [padded[:, 2:, 2:], padded[:, :-2, :-2]]
    return [*moved, *(view[:, :, ::-1] for view in moved)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_inference_model_matches_trained_network(name: RecipeName, shape: tuple[int, ...]) -> None:
    recipe, images = RECIPES[name], random_images(shape)
    trained = built(recipe, shape, 5)
    model = inference_model.build_inference_model(recipe, trained)
    logits = np.mean([trained(view) for view in views_of(images, recipe.tta_views)], axis=0)
    probabilities = np.asarray(model(images))
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities - softmax(logits)).max() < 1e-5
    assert np.ptp(probabilities, axis=0).max() > 1e-3  # the probabilities depend on the images


@pytest.mark.parametrize(
    ("name", "shape", "sides"),
    [
        (RecipeName.good, (32, 32, 3), [31, 15, 7, 3]),  # patches of 2x2 with stride 1, then halves
        (RecipeName.flash, (32, 32, 3), [15, 8, 4]),  # patches of 4x4 with stride 2
        (RecipeName.good, (8, 8, 1), [6, 3, 2, 1]),  # small feature maps keep their odd rows
    ],
    ids=str,
)
def test_whitened_feature_maps_have_expected_sides(
    name: RecipeName, shape: tuple[int, ...], sides: list[int]
) -> None:
    layers = built(RECIPES[name], shape, 3).layers
    maps = [layer.output.shape[1] for layer in layers if layer.name == "whiten" or "pool" in layer.name]
    assert maps == sides


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_inference_model_has_only_keras_classes(name: RecipeName, tmp_path: Path) -> None:
    model = inference_model.build_inference_model(RECIPES[name], built(RECIPES[name], (32, 32, 3), 10))
    modules = {type(operation).__module__ for operation in model.operations}
    assert all(module.startswith("keras.") for module in modules)
    keras_file.write_keras(model, tmp_path / "model.keras")
    with keras.saving.custom_object_scope({}):
        loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    images = random_images((32, 32, 3))
    assert np.array_equal(np.asarray(loaded(images)), np.asarray(model(images)))
    assert model.inputs[0].dtype == "uint8"


@pytest.mark.parametrize("classes", [2, 1000])
@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_inference_model_with_any_number_of_classes_gives_probabilities(
    name: RecipeName, classes: int
) -> None:
    model = inference_model.build_inference_model(RECIPES[name], built(RECIPES[name], (16, 16, 3), classes))
    probabilities = np.asarray(model(random_images((16, 16, 3))))
    assert probabilities.shape == (6, classes)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_textbook_network_matches_tutorial() -> None:
    """Layer by layer as in the TensorFlow tutorial "Convolutional Neural Network (CNN)", sizes by hand."""
    model = build.build(RECIPES[RecipeName.textbook], random_images((32, 32, 3)), 10, 0)
    summary = [
        (type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers[1:]
    ]
    assert summary == [
        ("Rescaling", (32, 32, 3), 0),
        ("Conv2D", (30, 30, 32), 896),  # (3 * 3 * 3 + 1) * 32
        ("MaxPooling2D", (15, 15, 32), 0),
        ("Conv2D", (13, 13, 64), 18_496),
        ("MaxPooling2D", (6, 6, 64), 0),
        ("Conv2D", (4, 4, 64), 36_928),
        ("Flatten", (1024,), 0),
        ("Dense", (64,), 65_600),
        ("Dense", (10,), 650),
    ]
    assert model.count_params() == 122_570
    activations = [layer.activation.__name__ for layer in model.layers if hasattr(layer, "activation")]
    assert activations == ["relu", "relu", "relu", "relu", "linear"]
    assert float(model.layers[1].scale) == pytest.approx(1 / 255)


def test_textbook_augmentation_matches_tutorial_and_runs_only_in_training() -> None:
    recipe = replace(RECIPES[RecipeName.textbook], augment="rotate")
    model = build.build(recipe, random_images((32, 32, 3)), 10, 0)
    names = [type(layer).__name__ for layer in model.layers[2:5]]
    assert names == ["RandomFlip", "RandomRotation", "RandomZoom"]
    images = random_images((32, 32, 3))
    assert not np.allclose(model(images, training=True), model(images, training=False))
    logits = np.asarray(model(images, training=False))
    assert np.allclose(
        inference_model.build_inference_model(recipe, model)(images), softmax(logits), atol=1e-5
    )
    tempered = inference_model.build_inference_model(recipe, model, temperature=2.0)(images)
    assert np.allclose(tempered, softmax(logits / 2), atol=1e-5)


@pytest.mark.parametrize("name", [RecipeName.textbook, RecipeName.flash])
def test_inference_model_adds_the_offsets_for_the_classes_shares(name: RecipeName) -> None:
    """softmax((f + offset) / T), by hand from the model without offsets: p * exp(offset / T), normalized."""
    recipe, images = RECIPES[name], random_images((16, 16, 3))
    trained = built(recipe, (16, 16, 3), 3)
    offsets = (0.5 * np.log([0.9, 0.09, 0.01])).astype(np.float32)
    plain = inference_model.build_inference_model(recipe, trained, temperature=2.0)
    adjusted = inference_model.build_inference_model(recipe, trained, temperature=2.0, offsets=offsets)
    weighted = np.asarray(plain(images)) * np.exp(offsets / 2.0)
    np.testing.assert_allclose(
        adjusted(images), weighted / weighted.sum(axis=1, keepdims=True), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", WHITENED)
@pytest.mark.parametrize("side", [32, 96, 224])
def test_whitened_network_with_large_images_ends_with_small_feature_maps(name: RecipeName, side: int) -> None:
    model = build.build(RECIPES[name], random_images((side, side, 3)), 10, 0)
    (last,) = [layer for layer in model.layers if isinstance(layer, keras.layers.GlobalMaxPooling2D)]
    assert 2 <= last.input.shape[1] <= 8


def test_build_with_same_seed_gives_same_weights() -> None:
    first, same_seed, other_seed = (
        built(RECIPES[RecipeName.fast], (32, 32, 3), 10, seed) for seed in (1, 1, 2)
    )
    weights = list(zip(first.get_weights(), same_seed.get_weights(), other_seed.get_weights(), strict=True))
    assert all(np.array_equal(a, b) for a, b, _ in weights)
    assert any(not np.array_equal(a, c) for a, _, c in weights)


def test_fused_batch_norm_matches_keras() -> None:
    """Compared with Keras' own batch norm without scale, in training and in inference."""
    norm, keras_norm = (
        FusedBatchNorm(momentum=0.8),
        keras.layers.BatchNormalization(momentum=0.8, epsilon=EPSILON, scale=False),
    )
    generator = tf.random.Generator.from_seed(0)
    for _ in range(3):
        values = generator.normal((64, 5, 5, 8), mean=3, stddev=2)
        assert np.allclose(norm(values, training=True), keras_norm(values, training=True), atol=1e-4)
    # The fused operation estimates the variance with n - 1: a factor of 1600 / 1599.
    assert np.allclose(norm.mean, keras_norm.moving_mean, rtol=1e-3)
    assert np.allclose(norm.variance, keras_norm.moving_variance, rtol=2e-3)
    assert np.allclose(norm(values), keras_norm(values), atol=1e-2)


def test_write_keras_twice_in_a_process_gives_same_bytes(tmp_path: Path) -> None:
    recipe = RECIPES[RecipeName.flash]
    trained = built(recipe, (32, 32, 3), 10)
    for name in ("first", "second"):
        keras_file.write_keras(
            inference_model.build_inference_model(recipe, trained), tmp_path / f"{name}.keras"
        )
    assert (tmp_path / "first.keras").read_bytes() == (tmp_path / "second.keras").read_bytes()


def test_initial_weights_are_independent_of_other_threads_random_numbers() -> None:
    """Dask's threads draw from Python's global generator while a network is built."""
    for recipe in (RECIPES[RecipeName.textbook], RECIPES[RecipeName.flash]):
        expected = build.build(recipe, random_images((8, 8, 1)), 10, 3).get_weights()
        stop = threading.Event()

        def draw(stop: threading.Event = stop) -> None:
            while not stop.is_set():
                random.random()

        thread = threading.Thread(target=draw)
        thread.start()
        try:
            weights = build.build(recipe, random_images((8, 8, 1)), 10, 3).get_weights()
        finally:
            stop.set()
            thread.join()
        assert all(np.array_equal(a, b) for a, b in zip(weights, expected, strict=True))


@pytest.mark.parametrize("name", WHITENED)
def test_convolutions_have_the_activation_of_the_recipe(name: RecipeName) -> None:
    """At 1 ReLU is 1, and SiLU is 1 / (1 + exp(-1)) = 0.731059."""
    model = built(RECIPES[name], (32, 32, 3), 3)
    values = {
        round(float(layer(np.ones((1, 1), np.float32))[0, 0]), 4)
        for layer in model.layers
        if isinstance(layer, keras.layers.Activation)
    }
    assert values == {0.7311 if RECIPES[name].activation == "silu" else 1.0}
