"""The networks to train: raw uint8 images in, logits out (`publication` makes plain Keras of them)."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.model import team, whitening
from tasks.core.recipes import Recipe

TEXTBOOK = (32, 64, 64)  # channels of the textbook CNN's convolutions
SMALLEST = 8  # a feature map's side, in pixels, that groups are added to come down to
LEAST_TRIMMED = 7  # a feature map's side, in pixels, from which an odd row may be left out
LOGIT_SCALE = 0.25  # small logits early on keep the one-cycle's high learning rates stable
BIAS_RATE = 16.0  # batch-norm biases learn this many times faster than weights
EPSILON = 1e-3

Draw = Callable[[], keras.initializers.Initializer]


@dataclass(frozen=True)
class Stem:
    """Geometry of the whitening convolution: patch size and stride in pixels."""

    size: int
    stride: int


@keras.saving.register_keras_serializable("plumbline")
class FusedBatchNorm(keras.layers.Layer):
    """Batch norm without scale, in TensorFlow's one fused operation (Keras composes several).

    Ioffe and Szegedy, "Batch Normalization" (2015). Only for training: publishing folds it away. Where
    several replicas train together, it normalizes by the mean and variance of the whole batch, as one
    device would; small shares would otherwise make another, noisier training.
    """

    def __init__(self, momentum: float = 0.9, **keywords: object) -> None:
        super().__init__(**keywords)
        self.momentum = momentum

    def build(self, shape: tuple[int | None, ...]) -> None:
        # Whatever the inputs' precision, the fused operation wants float32: no casts on reading.
        settings = {"shape": (shape[-1],), "autocast": False}
        self.bias = self.add_weight(initializer="zeros", name="bias", **settings)
        self.mean = self.add_weight(initializer="zeros", trainable=False, name="mean", **settings)
        self.variance = self.add_weight(initializer="ones", trainable=False, name="variance", **settings)
        self.ones = tf.ones(shape[-1:])

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if training and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            return self._shared(inputs)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.ones,
            offset=self.bias,
            mean=[] if training else self.mean,
            variance=[] if training else self.variance,
            epsilon=EPSILON,
            is_training=training,
        )
        if not training:
            return outputs
        self._remember(mean, variance)
        return outputs

    def _shared(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalize by the statistics over all replicas, which take one sum of 2 channels + 1 numbers.

        Variances are summed about the running mean, not about 0: fewer digits cancel.
        """
        values = tf.cast(inputs, tf.float32)
        centre = tf.stop_gradient(tf.identity(self.mean.value))
        away = values - centre
        sums = [tf.reduce_sum(away, [0, 1, 2]), tf.reduce_sum(tf.square(away), [0, 1, 2])]
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
        (added,) = team.total([tf.concat([*sums, [count]], axis=0)])
        channels = inputs.shape[-1]
        shift, square, count = added[:channels] / added[-1], added[channels:-1] / added[-1], added[-1]
        variance = square - tf.square(shift)
        self._remember(centre + shift, variance * count / (count - 1))  # unbiased, as the fused operation's
        outputs = tf.nn.batch_normalization(away, shift, variance, self.bias.value, None, EPSILON)
        return tf.cast(outputs, inputs.dtype)

    def _remember(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        self.mean.assign(self.mean * self.momentum + mean * (1 - self.momentum))
        self.variance.assign(self.variance * self.momentum + variance * (1 - self.momentum))


def build(
    recipe: Recipe, images: NDArray[np.uint8], classes: int, seed: int, policy: str = "float32"
) -> keras.Model:
    """The network to train.

    Args:
        images: uint8 (N, H, W, C), training images; the whitened stem's weights follow from them.
        classes: 2..1000.
        seed: Of the initial weights.
        policy: Keras' name of the precision to calculate in; weights are float32 in any.

    Returns:
        From uint8 (N, H, W, C) to logits (N, classes).
    """
    keras.utils.set_random_seed(seed)
    draw = initializers(seed)
    shape = tuple(int(side) for side in images.shape[1:])
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        if recipe.architecture == "textbook":
            return _textbook(recipe, shape, classes, seed, draw)
        return _whitened(recipe, images, shape, classes, draw)
    finally:
        keras.config.set_dtype_policy(before)


def initializers(seed: int) -> Draw:
    """A source of Glorot's uniform initializers (2010), the same ones in the same order for the same seed.

    Left to itself, Keras seeds each from Python's global generator, from which other threads of the process
    draw as well: on a Dask worker the same seed gave another model in 9 of 12 trainings.
    """
    chance = random.Random(seed)
    # The numbers that Keras would draw in a process of one thread.
    return lambda: keras.initializers.GlorotUniform(seed=chance.randint(1, int(1e9)))


def stem_of(recipe: Recipe, side: int) -> Stem:
    """The stem for images whose shorter side is `side`: coarse patches where there are pixels to spare."""
    if side < 16:
        return Stem(size=3, stride=1)
    if recipe.stem == "fine" and side <= 48:
        return Stem(size=2, stride=1)
    return Stem(size=4, stride=2)


def _textbook(recipe: Recipe, shape: tuple[int, ...], classes: int, seed: int, draw: Draw) -> keras.Model:
    # Three valid 3x3 convolutions and two pools need 18 pixels; smaller images get same padding.
    padding = "valid" if min(shape[:2]) >= 18 else "same"
    layers: list[keras.layers.Layer] = [keras.layers.Rescaling(1 / 255, name="rescale")]
    if recipe.augment == "rotate":
        layers += [
            keras.layers.RandomFlip("horizontal", seed=seed, name="augment_flip"),
            keras.layers.RandomRotation(0.1, seed=seed + 1, name="augment_rotate"),
            keras.layers.RandomZoom(0.1, seed=seed + 2, name="augment_zoom"),
        ]
    for number, width in enumerate(TEXTBOOK, start=1):
        layers.append(
            keras.layers.Conv2D(
                width,
                3,
                padding=padding,
                activation="relu",
                kernel_initializer=draw(),
                name=f"convolution_{number}",
            )
        )
        if number < len(TEXTBOOK):
            layers.append(keras.layers.MaxPooling2D(name=f"pool_{number}"))
    layers += [
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(64, activation="relu", kernel_initializer=draw(), name="hidden"),
        keras.layers.Dense(classes, kernel_initializer=draw(), dtype="float32", name="logits"),
    ]
    return _chain(layers, shape)


def _whitened(
    recipe: Recipe, images: NDArray[np.uint8], shape: tuple[int, ...], classes: int, draw: Draw
) -> keras.Model:
    stem = stem_of(recipe, min(shape[:2]))
    count = min(recipe.filters, 2 * stem.size**2 * shape[2])
    whiten = keras.layers.Conv2D(
        count,
        stem.size,
        strides=stem.stride,
        activation="relu",
        kernel_initializer=draw(),
        trainable=False,
        name="whiten",
    )
    layers: list[keras.layers.Layer] = [keras.layers.Rescaling(1 / 255, name="rescale"), whiten]
    side = (min(shape[:2]) - stem.size) // stem.stride + 1
    for number, widths in enumerate(_groups(recipe, side), start=1):
        padding = "valid" if recipe.trim and side >= LEAST_TRIMMED else "same"
        layers += _group(f"group_{number}", widths, padding)
        side = side // 2 if padding == "valid" else (side + 1) // 2
    layers += [
        keras.layers.GlobalMaxPooling2D(name="global_max"),
        # In float32 whatever the policy: bfloat16 has 8 bits, and logits that tie decide nothing.
        keras.layers.Dense(
            classes, use_bias=False, kernel_initializer=draw(), dtype="float32", name="logits"
        ),
        keras.layers.Rescaling(LOGIT_SCALE, dtype="float32", name="scale_logits"),
    ]
    model = _chain(layers, shape)
    for layer in layers[2:]:
        if isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([_partly_identity(layer.kernel.shape, draw())])
    whiten.set_weights(list(whitening.filters(images, stem.size, stem.stride, count)))
    return model


def _groups(recipe: Recipe, side: int) -> list[tuple[int, ...]]:
    """The recipe's groups, after as many thin ones as bring a feature map of this side down to 8."""
    halvings = max(0, int(np.ceil(np.log2(side / SMALLEST))))
    extra = max(0, halvings - len(recipe.groups))
    return [(recipe.groups[0][0],)] * extra + list(recipe.groups)


def _group(name: str, widths: tuple[int, ...], padding: str) -> list[keras.layers.Layer]:
    """Convolutions with batch norm and ReLU; the first one's output is halved in height and width.

    Padding is the pool's: "valid" leaves out an odd last row and column, "same" keeps them.

    The pool comes before the norm and the ReLU: both keep the order of values, so it chooses the same
    ones, and they work on a quarter of the map.
    """
    layers: list[keras.layers.Layer] = []
    for number, width in enumerate(widths, start=1):
        convolution = f"{name}_convolution_{number}"
        layers.append(
            keras.layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="zeros",  # until `_whitened` sets it
                name=convolution,
            )
        )
        if number == 1:
            layers.append(keras.layers.MaxPooling2D(padding=padding, name=f"{name}_pool"))
        layers += [
            FusedBatchNorm(name=f"{name}_norm_{number}"),
            keras.layers.ReLU(name=f"{name}_relu_{number}"),
        ]
    return layers


def _partly_identity(shape: tuple[int, ...], glorot: keras.initializers.Initializer) -> NDArray[np.float32]:
    """Glorot's uniform, but the first channels pass their input on (Jordan, 2024, "dirac")."""
    kernel = np.array(glorot(shape))
    for channel in range(min(shape[2], shape[3])):
        kernel[:, :, :, channel] = 0
        kernel[shape[0] // 2, shape[1] // 2, channel, channel] = 1
    return kernel


def _chain(layers: list[keras.layers.Layer], shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input(shape, dtype="uint8", name="images")
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)
