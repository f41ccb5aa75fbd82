"""The networks: raw uint8 images in, logits out.

A network is built twice: to be trained, with batch norms that use one fused operation, and to be
published, from plain Keras layers with the batch norms folded into the convolutions.
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.model import whitening
from tasks.core.recipes import Recipe

LOGIT_SCALE = 0.25  # small logits early on keep the one-cycle's high learning rates stable
BIAS_RATE = 16.0  # batch-norm biases learn this many times faster than weights
EPSILON = 1e-3


@dataclass(frozen=True)
class Stem:
    """Geometry of the whitening convolution: patch size and stride in pixels."""

    size: int
    stride: int


@keras.saving.register_keras_serializable("plumbline")
class FusedBatchNorm(keras.layers.Layer):
    """Batch norm without scale, in TensorFlow's one fused operation (Keras composes several).

    Ioffe and Szegedy, "Batch Normalization" (2015). Only for training: publishing folds it away.
    """

    def __init__(self, momentum: float = 0.9, **keywords: object) -> None:
        super().__init__(**keywords)
        self.momentum = momentum

    def build(self, shape: tuple[int | None, ...]) -> None:
        channels = (shape[-1],)
        self.bias = self.add_weight(shape=channels, initializer="zeros", name="bias")
        self.mean = self.add_weight(shape=channels, initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=channels, initializer="ones", trainable=False, name="variance")
        self.ones = tf.ones(channels)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            scale = tf.math.rsqrt(self.variance + EPSILON)
            return inputs * scale + (self.bias - self.mean * scale)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.ones,
            offset=self.bias,
            mean=[],
            variance=[],
            epsilon=EPSILON,
            is_training=True,
        )
        self.mean.assign(self.mean * self.momentum + mean * (1 - self.momentum))
        self.variance.assign(self.variance * self.momentum + variance * (1 - self.momentum))
        return outputs


def build(recipe: Recipe, images: NDArray[np.uint8], classes: int, seed: int) -> keras.Model:
    """The network to train.

    Args:
        images: uint8 (N, H, W, C), training images; the whitened stem's weights follow from them.
        classes: 2..1000.
        seed: Of the initial weights.

    Returns:
        From uint8 (N, H, W, C) to logits, float32 (N, classes).
    """
    keras.utils.set_random_seed(seed)
    shape = tuple(int(side) for side in images.shape[1:])
    if recipe.architecture == "textbook":
        return _textbook(recipe, shape, classes, seed)
    return _whitened(recipe, images, shape, classes)


def published(recipe: Recipe, trained: keras.Model) -> keras.Model:
    """The same function in plain Keras layers, with probabilities: no custom class, no augmentation."""
    layers: list[keras.layers.Layer] = []
    weights: list[list[NDArray[np.float32]]] = []
    for layer in trained.layers[1:]:
        if isinstance(layer, FusedBatchNorm):
            weights[_last_convolution(layers)] = _folded(weights[_last_convolution(layers)], layer)
        elif layer.name.startswith("augment"):
            continue
        else:
            layers.append(_plain(layer))
            weights.append([np.asarray(weight) for weight in layer.get_weights()])
    inputs = keras.Input(trained.input_shape[1:], dtype="uint8", name="images")
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    outputs = keras.layers.Softmax(name="probabilities")(outputs)
    model = keras.Model(inputs, outputs, name="plumbline")
    for layer, values in zip(layers, weights, strict=True):
        layer.set_weights(values)
    return model


def stem_of(side: int) -> Stem:
    """The stem for images whose shorter side is `side`: coarse patches where there are pixels to spare."""
    if side < 16:
        return Stem(size=3, stride=1)
    return Stem(size=4, stride=2)


def _textbook(recipe: Recipe, shape: tuple[int, ...], classes: int, seed: int) -> keras.Model:
    # Three valid 3x3 convolutions and two pools need 18 pixels; smaller images get same padding.
    padding = "valid" if min(shape[:2]) >= 18 else "same"
    layers: list[keras.layers.Layer] = [keras.layers.Rescaling(1 / 255, name="rescale")]
    if recipe.augment == "rotate":
        layers += [
            keras.layers.RandomFlip("horizontal", seed=seed, name="augment_flip"),
            keras.layers.RandomRotation(0.1, seed=seed + 1, name="augment_rotate"),
            keras.layers.RandomZoom(0.1, seed=seed + 2, name="augment_zoom"),
        ]
    for number, width in enumerate(recipe.widths, start=1):
        layers.append(
            keras.layers.Conv2D(width, 3, padding=padding, activation="relu", name=f"convolution_{number}")
        )
        if number < len(recipe.widths):
            layers.append(keras.layers.MaxPooling2D(name=f"pool_{number}"))
    layers += [
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(64, activation="relu", name="hidden"),
        keras.layers.Dense(classes, name="logits"),
    ]
    return _chain(layers, shape)


def _whitened(recipe: Recipe, images: NDArray[np.uint8], shape: tuple[int, ...], classes: int) -> keras.Model:
    stem = stem_of(min(shape[:2]))
    count = min(24, 2 * stem.size**2 * shape[2])
    whiten = keras.layers.Conv2D(
        count, stem.size, strides=stem.stride, activation="relu", trainable=False, name="whiten"
    )
    layers: list[keras.layers.Layer] = [keras.layers.Rescaling(1 / 255, name="rescale"), whiten]
    first, *rest = recipe.widths
    layers += [*_block("block_1", first), keras.layers.MaxPooling2D(padding="same", name="pool_1")]
    side = -(-((min(shape[:2]) - stem.size) // stem.stride + 1) // 2)
    for number in range(_extra_blocks(side)):
        layers += [
            *_block(f"extra_{number + 1}", rest[0]),
            keras.layers.MaxPooling2D(padding="same", name=f"extra_pool_{number + 1}"),
        ]
    for number, width in enumerate(rest, start=2):
        layers += _block(f"block_{number}", width)
    layers += [
        keras.layers.GlobalMaxPooling2D(name="global_max"),
        keras.layers.Dense(classes, use_bias=False, name="logits"),
        keras.layers.Rescaling(LOGIT_SCALE, name="scale_logits"),
    ]
    model = _chain(layers, shape)
    whiten.set_weights(list(whitening.filters(images, stem.size, stem.stride, count)))
    return model


def _extra_blocks(side: int) -> int:
    """Blocks with a pool that bring a feature map of this side to at most 8."""
    return max(0, int(np.ceil(np.log2(side / 8))))


def _block(name: str, width: int) -> list[keras.layers.Layer]:
    convolution = keras.layers.Conv2D(
        width, 3, padding="same", use_bias=False, kernel_initializer=_partly_identity, name=name
    )
    return [
        convolution,
        FusedBatchNorm(name=f"{name}_norm"),
        keras.layers.ReLU(name=f"{name}_relu"),
    ]


def _partly_identity(shape: tuple[int, ...], dtype: object = None) -> tf.Tensor:
    """Glorot's uniform (2010), but the first channels pass their input on (Jordan, 2024, "dirac")."""
    kernel = np.array(keras.initializers.GlorotUniform()(shape))
    for channel in range(min(shape[2], shape[3])):
        kernel[:, :, :, channel] = 0
        kernel[shape[0] // 2, shape[1] // 2, channel, channel] = 1
    return tf.constant(kernel)


def _chain(layers: list[keras.layers.Layer], shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input(shape, dtype="uint8", name="images")
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def _plain(layer: keras.layers.Layer) -> keras.layers.Layer:
    settings = layer.get_config() | {"trainable": True}
    if isinstance(layer, keras.layers.Conv2D):
        settings |= {"use_bias": True, "kernel_initializer": "zeros"}
    return type(layer).from_config(settings)


def _last_convolution(layers: list[keras.layers.Layer]) -> int:
    return max(number for number, layer in enumerate(layers) if isinstance(layer, keras.layers.Conv2D))


def _folded(weights: list[NDArray[np.float32]], norm: FusedBatchNorm) -> list[NDArray[np.float32]]:
    bias, mean, variance = (
        np.asarray(values, np.float32) for values in (norm.bias, norm.mean, norm.variance)
    )
    scale = (1 / np.sqrt(variance + EPSILON)).astype(np.float32)
    return [weights[0] * scale, bias - mean * scale]
