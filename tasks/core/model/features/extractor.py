"""Computes features of photos by a backbone: compiled once, in batches of one size."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.errors import DataError
from tasks.core.model.backbones import network
from tasks.core.model.devices import device
from tasks.core.model.features.kind import FeatureKind

# Photos in a batch on CPUs, by precision. On 2 cores 16 in bfloat16 are 4 to 6 % slower and save 100 MB; in
# float32 8 are as fast as 16.
BATCH = {device.MIXED: 32, device.FULL: 8}
GPU_BATCH = 256
Features = NDArray[np.floating[Any]]


class Extractor:
    """A compiled backbone.

    Args:
        kind: What to compute.

    Attributes:
        kind: As given.
        batch: Images in a batch.
        shape: Shape of the features of one image: views, and the shape of the layer's output.
    """

    def __init__(self, kind: FeatureKind) -> None:
        tf.config.experimental.enable_op_determinism()
        policy = device.policy(kind.precision)
        self.kind, self.batch = kind, BATCH[policy] if device.name() == "CPU" else GPU_BATCH
        model = network.build(kind.declaration, kind.image_size, policy)
        self._model = keras.Model(model.inputs, model.get_layer(kind.layer).output) if kind.layer else model
        self.shape = (kind.views, *self._model.output_shape[1:])
        self._images = (self.batch, *model.input_shape[1:])
        signature = [tf.TensorSpec(self._images, tf.uint8)]
        self._compiled = tf.function(self._forward, input_signature=signature, autograph=False)

    def __call__(self, images: NDArray[np.uint8]) -> Features:
        """Features of at most `batch` images.

        Args:
            images: uint8 (n, image_size, image_size, 3).

        Returns:
            (n, views, ...), of the kind's dtype.

        Raises:
            DataError: A feature is not a finite number of that dtype.
        """
        padded = np.zeros(self._images, np.uint8)
        padded[: len(images)] = images
        with np.errstate(over="ignore"):
            features = self._compiled(tf.constant(padded)).numpy()[: len(images)].astype(self.kind.dtype)
        if not np.isfinite(features).all():
            raise DataError("the backbone's features are not finite", expected="values within +-65504")
        return features

    def _forward(self, images: tf.Tensor) -> tf.Tensor:
        views = [self._model(images, training=False)]
        if self.kind.views == 2:
            # One view after the other: side by side they would need the memory of two batches.
            with tf.control_dependencies(views):
                mirrored = tf.reverse(images, [2])
            views.append(self._model(mirrored, training=False))
        return tf.cast(tf.stack(views, axis=1), tf.float32)
