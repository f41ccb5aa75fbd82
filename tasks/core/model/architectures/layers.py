"""Layers and initializers that the networks share."""

import random
from collections.abc import Callable

import keras
import tensorflow as tf

from tasks.core.model.devices import replicas

EPSILON = 1e-3

InitializerFactory = Callable[[], keras.initializers.Initializer]


@keras.saving.register_keras_serializable("plumbline")
class FusedBatchNorm(keras.layers.Layer):
    """Batch norm without scale, as TensorFlow's single fused operation (Keras composes several).

    Ioffe and Szegedy, "Batch Normalization" (2015). The layer is only used in training: the published model
    has it folded into the convolution before it. If several replicas train together, it normalizes by the
    mean and variance of the complete batch, as one device would. With those of each replica's small share,
    training would be noisier.

    Args:
        momentum: Share of the running statistics that an update keeps, 0..1.
        keywords: Passed to Keras' `Layer`.
    """

    def __init__(self, momentum: float = 0.9, **keywords: object) -> None:
        super().__init__(**keywords)
        self.momentum = momentum

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Create the bias and the running statistics, float32 (C,) each."""
        # The fused operation takes float32 for inputs of any precision, so reading must not cast.
        settings = {"shape": (shape[-1],), "autocast": False}
        self.bias = self.add_weight(initializer="zeros", name="bias", **settings)
        self.mean = self.add_weight(initializer="zeros", trainable=False, name="mean", **settings)
        self.variance = self.add_weight(initializer="ones", trainable=False, name="variance", **settings)
        self.ones = tf.ones(shape[-1:])

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalize (N, H, W, C) by the batch's statistics in training, else by the running ones."""
        if training and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            return self._normalize_over_replicas(inputs)
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
        self._update_running(mean, variance)
        return outputs

    def _normalize_over_replicas(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalize by the statistics over all replicas, with one sum of 2 * channels + 1 numbers.

        Deviations are taken from the running mean instead of 0, so that fewer digits cancel in the variance.
        """
        values = tf.cast(inputs, tf.float32)
        centre = tf.stop_gradient(tf.identity(self.mean.value))
        centred = values - centre
        sums = [tf.reduce_sum(centred, [0, 1, 2]), tf.reduce_sum(tf.square(centred), [0, 1, 2])]
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
        (totals,) = replicas.all_reduce_sum([tf.concat([*sums, [count]], axis=0)])
        channels = inputs.shape[-1]
        shift, square, count = totals[:channels] / totals[-1], totals[channels:-1] / totals[-1], totals[-1]
        variance = square - tf.square(shift)
        # The running variance is unbiased, as that of the fused operation.
        self._update_running(centre + shift, variance * count / (count - 1))
        outputs = tf.nn.batch_normalization(centred, shift, variance, self.bias.value, None, EPSILON)
        return tf.cast(outputs, inputs.dtype)

    def _update_running(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        self.mean.assign(self.mean * self.momentum + mean * (1 - self.momentum))
        self.variance.assign(self.variance * self.momentum + variance * (1 - self.momentum))


def initializers(seed: int) -> InitializerFactory:
    """A factory of Glorot's uniform initializers (2010), whose sequence follows from the seed alone.

    By default, Keras seeds each initializer from Python's global generator, from which other threads of the
    process draw too. On a Dask worker, the same seed then gave different models in 9 of 12 trainings.
    """
    generator = random.Random(seed)
    # These are the numbers that Keras would draw in a process with one thread.
    return lambda: keras.initializers.GlorotUniform(seed=generator.randint(1, int(1e9)))


def chain(layers: list[keras.layers.Layer], shape: tuple[int, ...], dtype: str = "uint8") -> keras.Model:
    """A model that applies the layers in order to images of this type and shape (H, W, C)."""
    inputs = keras.Input(shape, dtype=dtype, name="images")
    outputs = inputs
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)
