"""A trained network as a plain Keras model: batch norms folded away, the views of an image averaged."""

import keras
import numpy as np
from numpy.typing import NDArray

from tasks.core.model.architectures.layers import EPSILON, FusedBatchNorm
from tasks.core.recipes import Recipe

Weights = list[NDArray[np.float32]]


def build_inference_model(recipe: Recipe, trained: keras.Model, temperature: float = 1.0) -> keras.Model:
    """The same function in Keras' own layers, with probabilities: no custom class, no augmentation.

    Args:
        recipe: With two views, colour images are also looked at mirrored, and the logits averaged.
        trained: From uint8 (N, H, W, C) to logits.
        temperature: The logits are divided by it (`tasks.core.metrics.temperature`), in a layer of that name.

    Returns:
        From uint8 (N, H, W, C) to probabilities, float32 (N, classes).
    """
    layers, weights = _folded(trained)
    inputs = keras.Input(trained.input_shape[1:], dtype="uint8", name="images")
    logits = _through(layers, inputs)
    if tta_views(recipe, trained.input_shape[-1]) == 2:
        logits = keras.layers.Average(name="views")([logits, _through(layers, _mirrored(inputs))])
    logits = keras.layers.Rescaling(1 / temperature, name="temperature")(logits)
    model = keras.Model(inputs, keras.layers.Softmax(name="probabilities")(logits), name="plumbline")
    for layer, values in zip(layers, weights, strict=True):
        layer.set_weights(values)
    return model


def tta_views(recipe: Recipe, channels: int) -> int:
    """Views of an image that the published model averages; grey images are never mirrored."""
    return recipe.tta_views if channels == 3 else 1


def _folded(trained: keras.Model) -> tuple[list[keras.layers.Layer], list[Weights]]:
    """Plain layers in order, not yet built, and the weights of each."""
    layers: list[keras.layers.Layer] = []
    weights: list[Weights] = []
    for layer in trained.layers[1:]:
        if isinstance(layer, FusedBatchNorm):
            convolution = _last_convolution(layers)
            weights[convolution] = _with_norm(weights[convolution], layer)
        elif not layer.name.startswith("augment"):
            layers.append(_plain(layer))
            weights.append([np.asarray(weight, np.float32) for weight in layer.get_weights()])
    return layers, weights


def _through(layers: list[keras.layers.Layer], values: keras.KerasTensor) -> keras.KerasTensor:
    for layer in layers:
        values = layer(values)
    return values


def _mirrored(images: keras.KerasTensor) -> keras.KerasTensor:
    mirrored = keras.ops.flip(images, axis=2)
    # Operations take no name, and Keras numbers them through the process: the same model, other bytes.
    mirrored._keras_history.operation.name = "mirror"
    return mirrored


def _plain(layer: keras.layers.Layer) -> keras.layers.Layer:
    settings = layer.get_config() | {"trainable": True, "dtype": "float32"}
    if isinstance(layer, keras.layers.Conv2D):
        settings |= {"use_bias": True, "kernel_initializer": "zeros"}
    return type(layer).from_config(settings)


def _last_convolution(layers: list[keras.layers.Layer]) -> int:
    return max(number for number, layer in enumerate(layers) if isinstance(layer, keras.layers.Conv2D))


def _with_norm(weights: Weights, norm: FusedBatchNorm) -> Weights:
    """A convolution's kernel with its batch norm multiplied in, and the bias that is left of it.

    A max pool between them is no obstacle: the scale is positive, so the same pixels are the largest.
    """
    bias, mean, variance = (
        np.asarray(values, np.float32) for values in (norm.bias, norm.mean, norm.variance)
    )
    scale = (1 / np.sqrt(variance + EPSILON)).astype(np.float32)
    return [weights[0] * scale, bias - mean * scale]
