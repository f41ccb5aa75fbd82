"""The networks, and that what is published computes the same in plain Keras."""

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

SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (96, 96, 3), (224, 224, 3), (20, 36, 3)]
OWN = [name for name in RecipeName if RECIPES[name].architecture == "whitened"]


def pictures(shape: tuple[int, ...], count: int = 6) -> NDArray[np.uint8]:
    return np.random.default_rng(len(shape)).integers(0, 256, (count, *shape), np.uint8)


def built(recipe: Recipe, shape: tuple[int, ...], classes: int, seed: int = 0) -> keras.Model:
    """A network whose norms have seen something: their statistics and biases are not those of the start."""
    model = build.build(recipe, pictures(shape), classes, seed)
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


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", list(RecipeName))
def test_published_is_what_was_trained(name: RecipeName, shape: tuple[int, ...]) -> None:
    recipe, images = RECIPES[name], pictures(shape)
    trained = built(recipe, shape, 5)
    model = inference_model.build_inference_model(recipe, trained)
    logits = np.asarray(trained(images))
    if recipe.tta_views == 2 and shape[2] == 3:
        logits = (logits + np.asarray(trained(images[:, :, ::-1]))) / 2
    probabilities = np.asarray(model(images))
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities - softmax(logits)).max() < 1e-5
    assert np.ptp(probabilities, axis=0).max() > 1e-3  # it looks at the images


@pytest.mark.parametrize(
    ("name", "shape", "sides"),
    [
        (RecipeName.good, (32, 32, 3), [31, 15, 7, 3]),  # a patch of 2x2 at every pixel, then halves
        (RecipeName.flash, (32, 32, 3), [15, 8, 4]),  # a patch of 4x4 at every second pixel
        (RecipeName.good, (8, 8, 1), [6, 3, 2, 1]),  # small maps keep their odd rows
    ],
    ids=str,
)
def test_sides_of_the_maps_by_hand(name: RecipeName, shape: tuple[int, ...], sides: list[int]) -> None:
    layers = built(RECIPES[name], shape, 3).layers
    maps = [layer.output.shape[1] for layer in layers if layer.name == "whiten" or "pool" in layer.name]
    assert maps == sides


@pytest.mark.parametrize("name", list(RecipeName))
def test_what_is_published_has_no_class_of_ours(name: RecipeName, tmp_path: Path) -> None:
    model = inference_model.build_inference_model(RECIPES[name], built(RECIPES[name], (32, 32, 3), 10))
    modules = {type(operation).__module__ for operation in model.operations}
    assert all(module.startswith("keras.") for module in modules)
    keras_file.write_keras(model, tmp_path / "model.keras")
    with keras.saving.custom_object_scope({}):
        loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True, compile=False)
    images = pictures((32, 32, 3))
    assert np.array_equal(np.asarray(loaded(images)), np.asarray(model(images)))
    assert model.inputs[0].dtype == "uint8"


@pytest.mark.parametrize("classes", [2, 1000])
@pytest.mark.parametrize("name", list(RecipeName))
def test_any_number_of_classes(name: RecipeName, classes: int) -> None:
    model = inference_model.build_inference_model(RECIPES[name], built(RECIPES[name], (16, 16, 3), classes))
    probabilities = np.asarray(model(pictures((16, 16, 3))))
    assert probabilities.shape == (6, classes)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


def test_the_seed_recipe_is_the_textbook_net() -> None:
    """Layer by layer as in the TensorFlow tutorial "Convolutional Neural Network (CNN)", sizes by hand."""
    model = build.build(RECIPES[RecipeName.textbook], pictures((32, 32, 3)), 10, 0)
    said = [
        (type(layer).__name__, tuple(layer.output.shape[1:]), layer.count_params())
        for layer in model.layers[1:]
    ]
    assert said == [
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


def test_the_seed_recipe_varies_images_as_the_tutorial_does_and_only_in_training() -> None:
    recipe = replace(RECIPES[RecipeName.textbook], augment="rotate")
    model = build.build(recipe, pictures((32, 32, 3)), 10, 0)
    names = [type(layer).__name__ for layer in model.layers[2:5]]
    assert names == ["RandomFlip", "RandomRotation", "RandomZoom"]
    images = pictures((32, 32, 3))
    assert not np.allclose(model(images, training=True), model(images, training=False))
    logits = np.asarray(model(images, training=False))
    assert np.allclose(
        inference_model.build_inference_model(recipe, model)(images), softmax(logits), atol=1e-5
    )
    warm = inference_model.build_inference_model(recipe, model, temperature=2.0)(images)
    assert np.allclose(warm, softmax(logits / 2), atol=1e-5)


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("side", [32, 96, 224])
def test_large_images_are_brought_down_before_the_wide_groups(name: RecipeName, side: int) -> None:
    model = build.build(RECIPES[name], pictures((side, side, 3)), 10, 0)
    (last,) = [layer for layer in model.layers if isinstance(layer, keras.layers.GlobalMaxPooling2D)]
    assert 2 <= last.input.shape[1] <= 8


def test_the_same_seed_gives_the_same_weights() -> None:
    one, same, other = (built(RECIPES[RecipeName.fast], (32, 32, 3), 10, seed) for seed in (1, 1, 2))
    pairs = list(zip(one.get_weights(), same.get_weights(), other.get_weights(), strict=True))
    assert all(np.array_equal(a, b) for a, b, _ in pairs)
    assert any(not np.array_equal(a, c) for a, _, c in pairs)


def test_the_fused_norm_is_batch_norm() -> None:
    """Against Keras' own batch norm without scale, in training and after it."""
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


def test_publishing_twice_in_a_process_writes_the_same_bytes(tmp_path: Path) -> None:
    recipe = RECIPES[RecipeName.flash]
    trained = built(recipe, (32, 32, 3), 10)
    for name in ("one", "other"):
        keras_file.write_keras(
            inference_model.build_inference_model(recipe, trained), tmp_path / f"{name}.keras"
        )
    assert (tmp_path / "one.keras").read_bytes() == (tmp_path / "other.keras").read_bytes()


def test_initial_weights_are_the_seeds_whoever_else_draws_numbers() -> None:
    """Dask's threads draw from Python's global generator while a network is built."""
    for recipe in (RECIPES[RecipeName.textbook], RECIPES[RecipeName.flash]):
        alone = build.build(recipe, pictures((8, 8, 1)), 10, 3).get_weights()
        over = threading.Event()

        def draw(over: threading.Event = over) -> None:
            while not over.is_set():
                random.random()

        other = threading.Thread(target=draw)
        other.start()
        try:
            disturbed = build.build(recipe, pictures((8, 8, 1)), 10, 3).get_weights()
        finally:
            over.set()
            other.join()
        assert all(np.array_equal(one, two) for one, two in zip(alone, disturbed, strict=True))
