"""The weight gradient of small maps: TensorFlow's own in float32 is the reference."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.model.architectures import convolution
from tasks.core.model.architectures.convolution import Convolution

pytestmark = pytest.mark.slow


def drawn(shape: tuple[int, ...], dtype: tf.DType) -> tf.Tensor:
    """Normal numbers that bfloat16 has exactly, so that the reference gets the same."""
    values = np.random.default_rng(sum(shape)).normal(size=shape)
    return tf.cast(tf.cast(values, tf.bfloat16), dtype)


def gradients(layer: tf.keras.layers.Layer, images: tf.Tensor, weights: tf.Tensor) -> list[NDArray[Any]]:
    """Of the weighted sum of a layer's outputs: by its kernel and by the images, float32."""
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(tf.cast(layer(images), tf.float32) * tf.cast(weights, tf.float32))
    return [tf.cast(part, tf.float32).numpy() for part in tape.gradient(total, [layer.kernel.value, images])]


def layers(side: int, dtype: str) -> list[tf.keras.layers.Layer]:
    """Our layer in one precision, and Keras' own in float32, with the same kernel."""
    kinds = ((Convolution, dtype), (tf.keras.layers.Conv2D, "float32"))
    pair = [kind(16, 3, padding="same", use_bias=False, dtype=name) for kind, name in kinds]
    for layer in pair:
        layer.build((None, side, side, 8))
        layer.set_weights([drawn((3, 3, 8, 16), tf.float32).numpy()])
    return pair


@pytest.mark.parametrize(("images", "side"), [(512, 3), (37, 7), (16, 2), (1, 1)])
def test_gradients_are_those_of_tensorflow(images: int, side: int) -> None:
    ours, reference = layers(side, "mixed_bfloat16")
    found = gradients(
        ours, drawn((images, side, side, 8), tf.bfloat16), drawn((images, side, side, 16), tf.bfloat16)
    )
    expected = gradients(
        reference, drawn((images, side, side, 8), tf.float32), drawn((images, side, side, 16), tf.float32)
    )
    for own, right in zip(found, expected, strict=True):
        assert np.abs(own - right).max() < 2**-7 * np.abs(right).max()  # bfloat16 has 8 bits
        assert np.abs(own).max() > 1


@pytest.mark.parametrize(
    ("side", "dtype", "changed"),
    [(7, "mixed_bfloat16", True), (8, "mixed_bfloat16", False), (3, "float32", False)],
)
def test_only_small_maps_in_bfloat16_have_it(side: int, dtype: str, changed: bool) -> None:
    ours, _ = layers(side, dtype)
    images, weights = drawn((4, side, side, 8), ours.compute_dtype), drawn((4, side, side, 16), tf.float32)
    graph = (
        tf.function(lambda images: gradients_in_graph(ours, images, weights))
        .get_concrete_function(images)
        .graph
    )
    operations = {operation.type for operation in graph.get_operations()}
    assert ("Conv2DBackpropFilter" not in operations) == changed


def gradients_in_graph(layer: tf.keras.layers.Layer, images: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.cast(layer(images), tf.float32) * weights)
    return tape.gradient(total, layer.kernel.value)


def test_group_of_images_changes_only_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = layers(3, "mixed_bfloat16")
    images, weights = drawn((512, 3, 3, 8), tf.bfloat16), drawn((512, 3, 3, 16), tf.bfloat16)
    in_groups = gradients(ours, images, weights)[0]
    monkeypatch.setattr(convolution, "GROUP", 512)
    together = gradients(ours, images, weights)[0]
    assert np.abs(in_groups - together).max() < 2**-7 * np.abs(together).max()
