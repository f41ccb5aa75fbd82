"""Logits of a network in training, as the published model would have them."""

from collections.abc import Callable
from functools import cache, partial

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.data.loader import batches, mmap
from tasks.core.model.architectures import views
from tasks.core.model.devices.replicas import SingleDevice
from tasks.core.recipes import Recipe

GPU_BATCHES = 16  # batches of a CPU that a GPU evaluates at once: 2,048 images of 32x32 pixels

Compiled = Callable[[tf.Tensor], tf.Tensor]


class Evaluator:
    """Calculates logits with the network's weights as they are at each call.

    Args:
        recipe: With `augment` "view", images are (N, views, H, W, C), as `transfer.finetune` has them.
        model: The network.
        devices: Replicas that share each batch.
        class_offsets: float32 (classes,), added to the logits.
        on_gpu: Whether more images are evaluated at once.
    """

    def __init__(
        self,
        recipe: Recipe,
        model: keras.Model,
        devices: SingleDevice,
        class_offsets: NDArray[np.float32],
        on_gpu: bool,
    ) -> None:
        self.recipe, self.model, self.devices, self.class_offsets = recipe, model, devices, class_offsets
        self.batches_at_once = GPU_BATCHES if on_gpu else 1
        self._compiled = cache(self._compile)

    @property
    def views_of_an_epoch(self) -> int:
        """How many of the recipe's views the validation after an epoch takes, but for the last one.

        One, which shows the progress at the least cost: six were a fifth of the CPU time of `better`.
        All, where early stopping compares epochs with the last one.
        """
        return self.recipe.tta_views if self.recipe.patience else 1

    def logits(self, images: NDArray[np.uint8], count: int | None = None) -> NDArray[np.float32]:
        """Logits of images, float32 (N, classes).

        Args:
            images: Like those of the training.
            count: How many views are averaged (`architectures.views`); None for the recipe's.
        """
        shape = images.shape[1:]
        count = views.possible(count or self.recipe.tta_views, shape)
        evaluate = self._compiled(count, shape, images.dtype)
        return np.concatenate(
            [
                evaluate(tf.constant(mmap.read_rows(images, self.devices.process_share(rows)))).numpy()[:new]
                for rows, new in batches.replica_rounds(images, self.devices.replicas, self.batches_at_once)
            ]
        )

    def _compile(self, count: int, shape: tuple[int, ...], dtype: "np.dtype[np.uint8]") -> Compiled:
        signature = [tf.TensorSpec((None, *shape), dtype)]
        compiled = tf.function(partial(self._batch, count), input_signature=signature, autograph=False)
        compiled.get_concrete_function()  # traced by a call, TensorFlow warns of the fifth training
        return compiled

    def _batch(self, count: int, images: tf.Tensor) -> tf.Tensor:
        def gathered_logits(images: tf.Tensor) -> tf.Tensor:
            return self.devices.all_gather(self._logits(self.devices.replica_share(images), count))

        return self.devices.run(gathered_logits, images)

    def _logits(self, images: tf.Tensor, count: int) -> tf.Tensor:
        seen = tf.unstack(images, axis=1) if self.recipe.augment == "view" else views.of_images(images, count)
        logits = tf.add_n([self.model(view, training=False) for view in seen]) / len(seen)
        return tf.cast(logits, tf.float32) + self.class_offsets
