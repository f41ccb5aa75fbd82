"""Layers and initializers that the networks share."""

import random
from collections.abc import Callable

import keras
import tensorflow as tf

from tasks.core.model.devices import replicas

EPSILON = 1e-3

Draw = Callable[[], keras.initializers.Initializer]


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
        (added,) = replicas.all_reduce_sum([tf.concat([*sums, [count]], axis=0)])
        channels = inputs.shape[-1]
        shift, square, count = added[:channels] / added[-1], added[channels:-1] / added[-1], added[-1]
        variance = square - tf.square(shift)
        self._remember(centre + shift, variance * count / (count - 1))  # unbiased, as the fused operation's
        outputs = tf.nn.batch_normalization(away, shift, variance, self.bias.value, None, EPSILON)
        return tf.cast(outputs, inputs.dtype)

    def _remember(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        self.mean.assign(self.mean * self.momentum + mean * (1 - self.momentum))
        self.variance.assign(self.variance * self.momentum + variance * (1 - self.momentum))


def initializers(seed: int) -> Draw:
    """A source of Glorot's uniform initializers (2010), the same ones in the same order for the same seed.

    Left to itself, Keras seeds each from Python's global generator, from which other threads of the process
    draw as well: on a Dask worker the same seed gave another model in 9 of 12 trainings.
    """
    chance = random.Random(seed)
    # The numbers that Keras would draw in a process of one thread.
    return lambda: keras.initializers.GlorotUniform(seed=chance.randint(1, int(1e9)))


def chain(layers: list[keras.layers.Layer], shape: tuple[int, ...]) -> keras.Model:
    inputs = keras.Input(shape, dtype="uint8", name="images")
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)
