"""The compiled steps of a training: one function for smaller images and one for full ones."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.model.architectures import smaller_input
from tasks.core.model.devices.replicas import SingleDevice, all_reduce_sum
from tasks.core.model.training.batches.host_images import HostImages
from tasks.core.model.training.batches.resident_images import ResidentImages
from tasks.core.model.training.loss import smoothed_cross_entropy
from tasks.core.model.training.optimizers import Optimizer
from tasks.core.model.training.steps import StepPlan


class StepFunctions:
    """The steps of a training; each function is compiled when it is first called.

    Args:
        plan: Which steps see smaller images.
        model: The network to train.
        optimizer: Of its trainable variables.
        batches: The images of each step.
        devices: Replicas that share each batch.
        class_offsets: float32 (classes,), added to the logits.
    """

    def __init__(
        self,
        plan: StepPlan,
        model: keras.Model,
        optimizer: Optimizer,
        batches: HostImages | ResidentImages,
        devices: SingleDevice,
        class_offsets: NDArray[np.float32],
    ) -> None:
        self.plan, self.model, self.optimizer, self.batches = plan, model, optimizer, batches
        self.devices, self.class_offsets = devices, class_offsets
        self._full = self._compiled(model)
        self._small = self._full
        if plan.small_image_steps and smaller_input.is_possible(model.input_shape[1:]):
            self._small = self._compiled(smaller_input.SmallerInput(model))

    def at(self, step: int) -> tf.types.experimental.PolymorphicFunction:
        """The function for a window that starts at `step`.

        It takes what `batches.window` gives, labels int32 (steps, n) and learning rates float32 (steps,), and
        returns the loss and the number of correct predictions of each step, (steps,).
        """
        return self._small if step < self.plan.small_image_steps else self._full

    def _compiled(self, network: Callable[..., tf.Tensor]) -> tf.types.experimental.PolymorphicFunction:
        """`_steps`, compiled for windows of any length."""
        batch = (None, len(self.devices.process_share(np.arange(self.plan.recipe.batch_size))))
        return tf.function(
            partial(self._steps, partial(self._step, network)),
            autograph=False,  # AutoGraph's translation was half of the cost of tracing
            input_signature=[
                self.batches.signature,
                tf.TensorSpec(batch, tf.int32),
                tf.TensorSpec((None,), tf.float32),
            ],
        )

    def _steps(
        self,
        step_of: Callable[..., tuple[tf.Tensor, tf.Tensor]],
        window: list[tf.Tensor],
        labels: tf.Tensor,
        learning_rates: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        count = tf.shape(learning_rates)[0]

        def body(step: tf.Tensor, losses: tf.TensorArray, correct: tf.TensorArray) -> tuple[Any, ...]:
            images = self.batches.batch(*[values[step] for values in window])
            loss, hits = self.devices.run(step_of, images, labels[step], learning_rates[step])
            return step + 1, losses.write(step, loss), correct.write(step, hits)

        start = (tf.constant(0), tf.TensorArray(tf.float32, count), tf.TensorArray(tf.int32, count))
        # Two steps that run at once would receive each other's messages between replicas and hang.
        parallel = 10 if self.devices.replicas == 1 else 1
        _, losses, correct = tf.while_loop(
            lambda step, *_: step < count, body, start, parallel_iterations=parallel
        )
        return losses.stack(), correct.stack()

    def _step(
        self,
        network: Callable[..., tf.Tensor],
        images: tf.Tensor,
        labels: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = self.devices.replica_share(images), self.devices.replica_share(labels)
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = self._loss(logits, labels)
        trainable = [variable.value for variable in self.model.trainable_variables]
        self.optimizer.update(tape.gradient(loss, trainable), learning_rate)
        published = tf.cast(logits, tf.float32) + self.class_offsets
        correct = tf.equal(tf.argmax(published, axis=1, output_type=tf.int32), labels)
        return self._sum_over_replicas(loss, tf.reduce_sum(tf.cast(correct, tf.int32)))

    def _sum_over_replicas(self, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Sum both values over all replicas; in one sum, since each sum costs a round of messages."""
        if self.devices.replicas == 1:
            return loss, correct
        (sums,) = all_reduce_sum([tf.stack([loss, tf.cast(correct, tf.float32)])])
        return sums[0], tf.cast(sums[1], tf.int32)

    def _loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        smoothing = self.plan.recipe.label_smoothing
        mean = smoothed_cross_entropy(logits, labels, smoothing, self.class_offsets)
        if self.devices.replicas == 1:
            return mean
        return mean * (labels.shape[0] / self.plan.recipe.batch_size)  # its share of the batch's mean
