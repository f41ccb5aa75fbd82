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
from tasks.core.model.training.loss import smoothed_cross_entropies
from tasks.core.model.training.optimizers import Optimizer
from tasks.core.model.training.steps import StepPlan

StepResult = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


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

        It takes what `batches.window` gives, labels int32 (steps, n) and learning rates float32 (steps,). It
        returns the loss and the number of correct predictions of each step, (steps,), and the losses of all
        images, float32 (steps, batch_size), or (steps, 0) if the plan needs none.
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
        step_of: Callable[..., StepResult],
        window: list[tf.Tensor],
        labels: tf.Tensor,
        learning_rates: tf.Tensor,
    ) -> StepResult:
        count = tf.shape(learning_rates)[0]

        def body(step: tf.Tensor, *results: tf.TensorArray) -> tuple[Any, ...]:
            images = self.batches.batch(*[values[step] for values in window])
            values = self.devices.run(step_of, images, labels[step], learning_rates[step])
            return step + 1, *(
                result.write(step, value) for result, value in zip(results, values, strict=True)
            )

        results = [tf.TensorArray(dtype, count) for dtype in (tf.float32, tf.int32, tf.float32)]
        # Two steps that run at once would receive each other's messages between replicas and hang.
        parallel = 10 if self.devices.replicas == 1 else 1
        _, *results = tf.while_loop(
            lambda step, *_: step < count, body, (tf.constant(0), *results), parallel_iterations=parallel
        )
        losses, correct, each = (result.stack() for result in results)
        return losses, correct, each

    def _step(
        self,
        network: Callable[..., tf.Tensor],
        images: tf.Tensor,
        labels: tf.Tensor,
        learning_rate: tf.Tensor,
    ) -> StepResult:
        images, labels = self.devices.replica_share(images), self.devices.replica_share(labels)
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            each = self._losses(logits, labels)
            loss = self._mean(each)
        trainable = [variable.value for variable in self.model.trainable_variables]
        self.optimizer.update(tape.gradient(loss, trainable), learning_rate)
        published = tf.cast(logits, tf.float32) + self.class_offsets
        correct = tf.equal(tf.argmax(published, axis=1, output_type=tf.int32), labels)
        sums = self._sum_over_replicas(loss, tf.reduce_sum(tf.cast(correct, tf.int32)))
        return *sums, self.devices.all_gather(each) if self.plan.needs_losses else tf.zeros(0)

    def _sum_over_replicas(self, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Sum both values over all replicas; in one sum, since each sum costs a round of messages."""
        if self.devices.replicas == 1:
            return loss, correct
        (sums,) = all_reduce_sum([tf.stack([loss, tf.cast(correct, tf.float32)])])
        return sums[0], tf.cast(sums[1], tf.int32)

    def _losses(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        smoothing = self.plan.recipe.label_smoothing
        return smoothed_cross_entropies(logits, labels, smoothing, self.class_offsets)

    def _mean(self, losses: tf.Tensor) -> tf.Tensor:
        mean = tf.reduce_mean(losses)
        if self.devices.replicas == 1:
            return mean
        return mean * (losses.shape[0] / self.plan.recipe.batch_size)  # its share of the batch's mean
