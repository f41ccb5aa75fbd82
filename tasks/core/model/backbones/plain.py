"""Rewrites a network of `keras.applications` for transfer: the same function, of fewer and plainer layers.

Batch norms and layer scales are folded into the convolution or dense layer before them. So training has no
moving statistics to disturb, and an image costs less. Dropout goes, and so does the numbering of names within
the process: two rewritten networks have the same names.
"""

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

LAYER_SCALE = "LayerScale"  # of `keras.applications.convnext`, which does not export it
FOLDED_INTO = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
# They calculate in float32 in any precision: their inputs are pixels, or sums of many numbers.
FLOAT32 = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.GlobalAveragePooling2D)
Tensor = Any  # a symbolic tensor of Keras
Floats = NDArray[np.float64]
Function = Callable[..., Tensor]


def rewritten(model: keras.Model, image_size: int) -> keras.Model:
    """The same function of raw uint8 images in plain layers, with the batch norms folded.

    Args:
        model: From images (N, image_size, image_size, 3), 0..255, to features (N, D), with its weights.
        image_size: Height and width of the images in pixels.

    Returns:
        Model from uint8 (N, image_size, image_size, 3) to features, float32 (N, D).
    """
    inputs = keras.Input((image_size, image_size, 3), dtype="uint8", name="photos")
    rewriter = _Rewriter()
    # `clone_model` only calls what `clone_function` gives, so that a function can take a layer's place.
    outputs = keras.models.clone_model(model, inputs, clone_function=rewriter.function).outputs
    rewriter.set_weights()
    return keras.Model(inputs, outputs[0], name="backbone")


class _Rewriter:
    """Makes the new layers in the order of the network."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._weights: dict[str, tuple[keras.Layer, list[NDArray[Any]]]] = {}
        self._makers: dict[int, keras.Layer] = {}  # by its output's identity, a layer to fold into
        self._outputs: list[Tensor] = []  # kept, since an identity is used again after its object is gone

    def function(self, old: Any) -> Function:
        """What is called in place of a layer or an operation. Its keywords, such as an empty mask, go."""
        called = self._instead_of(old)
        return lambda *values, **_: called(*values)

    def _instead_of(self, old: Any) -> Function:
        if isinstance(old, keras.Sequential):
            return partial(self._in_sequence, [self.function(layer) for layer in old.layers])
        if isinstance(old, keras.layers.BatchNormalization) or type(old).__name__ == LAYER_SCALE:
            return partial(self._fold, old)
        if isinstance(old, keras.layers.Dropout) or _is_linear(old):
            return lambda values: values
        if not isinstance(old, keras.Layer):
            return partial(self._calculate, type(old).__name__)
        return partial(self._copy, old)

    def set_weights(self) -> None:
        """Give each new layer its weights."""
        for layer, arrays in self._weights.values():
            layer.set_weights([array.astype(np.float32) for array in arrays])

    def _in_sequence(self, functions: list[Function], values: Tensor) -> Tensor:
        for function in functions:
            values = function(values)
        return values

    def _copy(self, old: keras.Layer, values: Tensor) -> Tensor:
        """Call a new layer with the old one's configuration."""
        arrays = [array.astype(np.float64) for array in old.get_weights()]
        config = old.get_config() | {"name": self._name(old.name, type(old).__name__)}
        if isinstance(old, FLOAT32) or _is_vector(values):
            config["dtype"] = "float32"
        if isinstance(old, FOLDED_INTO) and not old.use_bias:
            config["use_bias"] = True
            arrays.append(np.zeros(arrays[0].shape[-2 if _is_depthwise(old) else -1]))
        layer = type(old).from_config(config)
        outputs = layer(values)
        self._weights[layer.name] = layer, arrays
        if isinstance(old, FOLDED_INTO) and old.activation is keras.activations.linear:
            self._makers[id(outputs)] = layer
        self._outputs.append(outputs)
        return outputs

    def _fold(self, old: keras.Layer, values: Tensor) -> Tensor:
        """Scale and shift the output of the layer before it, by that layer's kernel and bias."""
        maker = self._makers.get(id(values))
        if maker is None:
            old.trainable = False  # a batch norm that is not trained uses its moving statistics
            return self._copy(old, values)
        scale, shift = _affine(old)
        _, (kernel, bias) = self._weights[maker.name]
        factors = scale[:, None] if _is_depthwise(maker) else scale
        self._weights[maker.name] = maker, [kernel * factors, bias * scale + shift]
        return values

    def _calculate(self, operation: str, left: Tensor, right: Any) -> Tensor:
        """A layer in place of an operator: `Add` or `Multiply` of two tensors, or of one and a number."""
        if not isinstance(right, int | float):
            return getattr(keras.layers, operation)(name=self._name(operation, operation))([left, right])
        scale, offset = (1.0, right) if operation == "Add" else (right, 0.0)
        name = self._name("rescaling", "Rescaling")
        return keras.layers.Rescaling(scale, offset, dtype="float32", name=name)(left)

    def _name(self, name: str, kind: str) -> str:
        """The name of a new layer: the old one, or for a name that Keras made up, one with an own number."""
        stem = re.sub(r"_\d+$", "", name).lower()
        if stem.replace("_", "") != kind.lower():
            return name
        self._numbers[stem] += 1
        return f"{stem}_{self._numbers[stem]}"


def _affine(old: keras.Layer) -> tuple[Floats, Floats]:
    """Scale and shift of each channel that a layer scale, or a batch norm at inference, applies."""
    if type(old).__name__ == LAYER_SCALE:
        gamma = old.get_weights()[0].astype(np.float64)
        return gamma, np.zeros_like(gamma)
    mean, variance = _values(old.moving_mean), _values(old.moving_variance)
    scale = (_values(old.gamma) if old.scale else 1.0) / np.sqrt(variance + old.epsilon)
    return scale, (_values(old.beta) if old.center else 0.0) - mean * scale


def _values(weight: Any) -> Floats:
    return np.asarray(keras.ops.convert_to_numpy(weight), np.float64)


def _is_linear(layer: Any) -> bool:
    is_activation = isinstance(layer, keras.layers.Activation)
    return is_activation and layer.activation is keras.activations.linear


def _is_depthwise(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D)


def _is_vector(values: Any) -> bool:
    return not isinstance(values, list) and len(values.shape) == 2
