"""A model that takes one image of any size: the fit and the scaling are part of its graph.

The graph does what `tasks.core.data.decode` does with Pillow: a triangle filter that covers every source
pixel, applied along the rows, rounded to whole grey values, and then along the columns. No grey value differs
by more than 1. The filter is a matrix for each axis, which is calculated from the image's size, so that the
graph has only multiplications, sums and rounding: Keras, TensorFlow, LiteRT and ONNX all have them.
`tf.image.resize` with antialiasing has no counterpart in LiteRT and ONNX.
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from tasks.core.config import Fit


@dataclass(frozen=True)
class Axis:
    """How one axis of an image becomes that of the model, all float32 (1, 1, 1).

    Args:
        start: Where the part of the image that is used begins, in pixels.
        length: Length of that part in pixels.
        inner: Number of the model's pixels that it becomes.
        offset: Number of black pixels before them.
    """

    start: keras.KerasTensor
    length: keras.KerasTensor
    inner: keras.KerasTensor
    offset: keras.KerasTensor


def any_size_model(model: keras.Model, fit: Fit) -> keras.Model:
    """Put the fit and the scaling before a model.

    Args:
        model: From uint8 (N, H, W, C) to probabilities, float32 (N, classes).
        fit: How an image of other proportions becomes H and W.

    Returns:
        Model from uint8 (1, any, any, C) to probabilities, float32 (1, classes). It has only Keras' own
        layers and operations.
    """
    height, width, channels = model.input_shape[1:]
    image = keras.Input(batch_shape=(1, None, None, channels), dtype="uint8", name="image")
    pixels = ops.transpose(ops.cast(image, "float32"), (0, 3, 1, 2))
    rows, columns = _positions(pixels[:, 0, :, 0]), _positions(pixels[:, 0, 0, :])
    down = _weights(rows, _axis(_count(rows), _count(columns), height, width, fit), height)
    across = _weights(columns, _axis(_count(columns), _count(rows), width, height, fit), width)
    scaled = _rounded(ops.matmul(pixels, ops.transpose(across, (0, 1, 3, 2))))
    scaled = _rounded(ops.matmul(down, scaled))
    resized = ops.cast(ops.transpose(scaled, (0, 2, 3, 1)), "uint8")
    combined = keras.Model(image, model(resized), name="plumbline_any_size")
    for number, operation in enumerate(combined.operations):
        if not isinstance(operation, keras.layers.Layer):
            operation.name = f"resize_{number}"  # Keras numbers them per process
    return combined


def _positions(line: keras.KerasTensor) -> keras.KerasTensor:
    """The middle of each pixel, 0.5, 1.5, ..., float32 (1, 1, n). A graph has no other access to the size."""
    return ops.expand_dims(ops.cumsum(ops.ones_like(line), axis=1) - 0.5, 1)


def _count(positions: keras.KerasTensor) -> keras.KerasTensor:
    """The number of pixels, float32 (1, 1, 1)."""
    return ops.sum(ops.ones_like(positions), axis=2, keepdims=True)


def _axis(here: keras.KerasTensor, there: keras.KerasTensor, new_here: int, new_there: int, fit: Fit) -> Axis:
    """One axis, from the image's pixels along it and along the other one, and from those of the model."""
    zero, whole = ops.zeros_like(here), ops.ones_like(here) * float(new_here)
    if fit is Fit.crop:
        length = ops.minimum(here, there * new_here / new_there)
        return Axis((here - length) / 2, length, whole, zero)
    if fit is Fit.pad:
        scaled = ops.floor((2 * here * new_there + there) / (2 * there))
        inner = ops.minimum(ops.maximum(scaled, 1.0), whole)
        return Axis(zero, here, inner, ops.floor((whole - inner) / 2))
    return Axis(zero, here, whole, zero)


def _weights(positions: keras.KerasTensor, axis: Axis, size: int) -> keras.KerasTensor:
    """The share of each of the image's pixels in each of the model's, float32 (1, 1, size, n)."""
    target = ops.ones_like(axis.start) * np.arange(size, dtype=np.float32)[None, :, None] - axis.offset
    scale = axis.length / axis.inner
    centre = axis.start + (target + 0.5) * scale
    distance = ops.absolute(positions - centre) / ops.maximum(scale, 1.0)
    weights = ops.relu(1.0 - distance)
    weights = weights / ops.maximum(ops.sum(weights, axis=2, keepdims=True), 1e-6)
    within = ops.relu(1.0 - ops.relu(-target) - ops.relu(target + 1.0 - axis.inner))  # 0 outside, else 1
    return ops.expand_dims(weights * within, 1)


def _rounded(values: keras.KerasTensor) -> keras.KerasTensor:
    return ops.floor(values + 0.5)  # as Pillow: halves up, after each of the two axes
