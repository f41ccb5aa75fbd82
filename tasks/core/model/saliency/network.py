"""Class activation maps of a published model, from its own graph.

The value of a cell is the sum over channels of the cell's activation times the gradient of the class's
logit: HiResCAM (R. L. Draelos and L. Carin, arXiv 2011.08891, 2020). Where the logit is a linear function of
pooled features, this is the class activation map of B. Zhou et al. (CVPR 2016): its values and one number of
the class add up to the logit. With an average, each cell has its own features times the class's weights. With
a maximum, a channel's vote lies in the cell that has the maximum. Where layers follow the map, the votes of
their biases belong to no cell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.model.architectures import views
from tasks.core.model.inference.predictor import LOGITS, batch_size
from tasks.core.model.saliency.reading import MIN_SIDE

MAX_BATCH = 32  # images
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
Floats = NDArray[np.float32]
Tensor = Any
Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class ClassMaps:
    """Maps of a batch of images; n images, m classes of each.

    Args:
        maps: float32 (n, m, h, w): each cell's part of the logit; negative where it speaks against the class.
        logits: What the softmax takes, all classes, float32 (n, classes).
        constants: The logits of an empty map, float32 (classes,). If all layers after the map are pooling and
            linear, the sum of a map and the class's constant are the logit.
    """

    maps: Floats
    logits: Floats
    constants: Floats


@dataclass(frozen=True)
class MapNetwork:
    """A published model, cut at the map; of one view.

    Args:
        layer: Name of the layer whose output the map is.
        lower: Steps from uint8 (n, H, W, C) to the map, float32 (n, h, w, channels).
        upper: Steps from the map to logits, float32 (n, classes).
        views: How many views of an image the model averages (`architectures.views`).
    """

    layer: str
    lower: tuple[Step, ...]
    upper: tuple[Step, ...]
    views: int

    def maps(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> ClassMaps:
        """Maps of images, uint8 (n, H, W, C), for the classes `labels`, int (n, m)."""
        size = min(batch_size(images.shape[1:]), MAX_BATCH)
        starts = range(0, len(images), size)
        parts = [self._batch(images[i : i + size], labels[i : i + size]) for i in starts]
        maps, logits = (np.concatenate(values, dtype=np.float32) for values in zip(*parts, strict=True))
        empty = tf.zeros((1, *_applied(self.lower, tf.constant(images[:1])).shape[1:]))
        return ClassMaps(maps, logits, _applied(self.upper, empty).numpy()[0])

    def _batch(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
        seen = views.of_images(tf.constant(images), self.views)
        maps, logits = (
            list(values) for values in zip(*(self._view(view, labels) for view in seen), strict=True)
        )
        for mirrored in range(len(seen) // 2, len(seen) if len(seen) > 1 else 0):
            maps[mirrored] = maps[mirrored][..., ::-1]
        return np.mean(maps, axis=0), np.mean(logits, axis=0)

    def _view(self, images: tf.Tensor, labels: NDArray[np.int64]) -> tuple[Floats, Floats]:
        features = _applied(self.lower, images)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(features)
            logits = _applied(self.upper, features)
            chosen = [tf.gather(logits, column, batch_dims=1) for column in labels.T]
        gradients = [tape.gradient(values, features) for values in chosen]
        maps = [tf.reduce_sum(gradient * features, axis=-1) for gradient in gradients]
        return tf.stack(maps, axis=1).numpy(), logits.numpy()


def cut(model: keras.Model, min_side: int = MIN_SIDE) -> MapNetwork | None:
    """Cut a published model at its last map that has enough cells.

    Args:
        model: From uint8 (N, H, W, C) to probabilities, as `export.inference_model` or `transfer.published`
            build it.
        min_side: The fewest rows and columns of cells.

    Returns:
        None if the model has no such map, or none through which everything passes.
    """
    found = _cut(_body(model), model.inputs[0], min_side)
    if found is None:
        return None
    layer, lower, upper = found
    names = {layer.name for layer in model.layers}
    averaged = len(model.get_layer("views").input) if "views" in names else 1
    return MapNetwork(layer, lower, (*upper, _head(model, names)), averaged)


def _body(model: keras.Model) -> keras.Model:
    """The network from one view of the images to the input of the last layer."""
    backbones = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if backbones:
        return backbones[0]
    return keras.Model(model.inputs, model.get_layer(LOGITS).input)  # its first input: the view itself


def _head(model: keras.Model, names: set[str]) -> Step:
    """From features of a view to its logits. The model averages views before or after: that is the same."""
    kernel, *biases = model.get_layer(LOGITS).get_weights()
    scale = np.float32(model.get_layer("temperature").scale)
    if "scale_logits" in names:
        scale = scale * np.float32(model.get_layer("scale_logits").scale)
    bias = biases[0] if biases else np.zeros(kernel.shape[1], np.float32)
    return lambda features: (tf.matmul(features, kernel) + bias) * scale


def _cut(
    model: keras.Model, given: Tensor, min_side: int
) -> tuple[str, tuple[Step, ...], tuple[Step, ...]] | None:
    """The last map of a network and the steps before and after it; networks in it are searched, too."""
    inputs, calls = _calls(model, given)
    outputs = calls[-1][2]
    first = next(
        (n for n, call in enumerate(calls) if isinstance(call[0], (*CONVOLUTIONS, keras.Model))), len(calls)
    )
    for layer, value, output in reversed(calls[first:]):  # what comes before has pixels, no features
        try:
            if isinstance(layer, keras.Model) and (within := _cut(layer, value, min_side)):
                name, lower, upper = within
                before, after = keras.Model(inputs, value), keras.Model(output, outputs)
                return name, (_step(before), *lower), (*upper, _step(after))
            if _is_map(output, min_side):
                lower, upper = keras.Model(inputs, output), keras.Model(output, outputs)
                return layer.name, (_step(lower),), (_step(upper),)
        except ValueError:  # Keras: something passes beside this layer
            continue
    return None


def _calls(model: keras.Model, given: Tensor) -> tuple[Tensor, list[tuple[Any, Tensor, Tensor]]]:
    """Call the layers of a network again, on a new input.

    Only so are the symbolic tensors around a network within a network known.

    Returns:
        The input, and of each call the layer, its first input and its output, in their order.
    """
    calls: list[tuple[Any, Tensor, Tensor]] = []

    def recorded(layer: Any) -> Step:
        def call(*values: Tensor, **keywords: Any) -> Tensor:
            output = layer(*values, **keywords)
            calls.append((layer, values[0], output))
            return output

        return call

    inputs = keras.Input(given.shape[1:], dtype=given.dtype)
    if isinstance(model, keras.Sequential):
        values = inputs
        for layer in model.layers:
            values = recorded(layer)(values)
    else:
        structure = [inputs] if isinstance(model.input, list) else inputs
        keras.models.clone_model(model, structure, clone_function=recorded)
    return inputs, calls


def _is_map(output: Any, min_side: int) -> bool:
    shape = getattr(output, "shape", ())
    return len(shape) == 4 and min(shape[1:3]) >= min_side


def _step(model: keras.Model) -> Step:
    return lambda values: model(values, training=False)


def _applied(steps: tuple[Step, ...], values: Tensor) -> Tensor:
    for step in steps:
        values = step(values)
    return values
