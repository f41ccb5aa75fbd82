"""The published model: a trained network in Keras' own layers, with batch norms folded and views averaged."""

import keras
import numpy as np
from numpy.typing import NDArray

from tasks.core.model.architectures import views
from tasks.core.model.architectures.layers import EPSILON, FusedBatchNorm
from tasks.core.recipes import Recipe

Weights = list[NDArray[np.float32]]
LOGITS = "logits"  # the last layer with weights


def build_inference_model(
    recipe: Recipe,
    trained: keras.Model,
    temperature: float = 1.0,
    offsets: NDArray[np.float32] | None = None,
) -> keras.Model:
    """Rebuild a trained network in Keras' own layers, without custom classes and augmentation.

    Args:
        recipe: The logits of its `tta_views` of an image are averaged (`views.of_images`).
        trained: Network from uint8 (N, H, W, C) to logits.
        temperature: Divisor of the logits (`tasks.core.metrics.temperature`), in a layer of that name.
        offsets: Added to the logits, float32 (classes,), see `training.loss.class_offsets`; they become part
            of the bias of the layer `logits`. None for none.

    Returns:
        Model from uint8 (N, H, W, C) to probabilities, float32 (N, classes).
    """
    layers, weights = _folded(trained)
    if offsets is not None and offsets.any():
        _add_offsets(layers, weights, offsets)
    inputs = keras.Input(trained.input_shape[1:], dtype="uint8", name="images")
    logits = [_apply(layers, view) for view in views.of_images(inputs, recipe.tta_views)]
    mean = keras.layers.Average(name="views")(logits) if len(logits) > 1 else logits[0]
    scaled = keras.layers.Rescaling(1 / temperature, name="temperature")(mean)
    model = keras.Model(inputs, keras.layers.Softmax(name="probabilities")(scaled), name="plumbline")
    for layer, values in zip(layers, weights, strict=True):
        layer.set_weights(values)
    return model


def _folded(trained: keras.Model) -> tuple[list[keras.layers.Layer], list[Weights]]:
    """The network's layers as unbuilt Keras layers with batch norms folded, and the weights of each."""
    layers: list[keras.layers.Layer] = []
    weights: list[Weights] = []
    for layer in trained.layers[1:]:
        if isinstance(layer, FusedBatchNorm):
            index = _last_convolution(layers)
            weights[index] = _fold_norm(weights[index], layer)
        elif not layer.name.startswith("augment"):
            layers.append(_unbuilt(layer))
            weights.append([np.asarray(weight, np.float32) for weight in layer.get_weights()])
    return layers, weights


def _apply(layers: list[keras.layers.Layer], values: keras.KerasTensor) -> keras.KerasTensor:
    for layer in layers:
        values = layer(values)
    return values


def _unbuilt(layer: keras.layers.Layer) -> keras.layers.Layer:
    settings = layer.get_config() | {"trainable": True, "dtype": "float32"}
    if not isinstance(layer, keras.layers.Conv2D):
        return type(layer).from_config(settings)
    return keras.layers.Conv2D.from_config(settings | {"use_bias": True, "kernel_initializer": "zeros"})


def _add_offsets(
    layers: list[keras.layers.Layer], weights: list[Weights], offsets: NDArray[np.float32]
) -> None:
    """Add offsets to the bias of the layer `logits`, divided by the scale of the layers after it."""
    index = next(number for number, layer in enumerate(layers) if layer.name == LOGITS)
    scale = np.prod([layer.scale for layer in layers[index + 1 :]])
    kernel, *biases = weights[index]
    bias = sum(biases, start=offsets / scale)
    layers[index] = keras.layers.Dense.from_config(layers[index].get_config() | {"use_bias": True})
    weights[index] = [kernel, np.asarray(bias, np.float32)]


def _last_convolution(layers: list[keras.layers.Layer]) -> int:
    return max(index for index, layer in enumerate(layers) if isinstance(layer, keras.layers.Conv2D))


def _fold_norm(weights: Weights, norm: FusedBatchNorm) -> Weights:
    """Kernel and bias of a convolution that includes the batch norm after it.

    A max pool may lie between them: the scale is positive, so the same pixels are the largest.
    """
    bias, mean, variance = (
        np.asarray(values, np.float32) for values in (norm.bias, norm.mean, norm.variance)
    )
    scale = (1 / np.sqrt(variance + EPSILON)).astype(np.float32)
    return [weights[0] * scale, bias - mean * scale]
