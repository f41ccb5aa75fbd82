"""A model in training: what changes, and the compiled functions that change and judge it."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.data.loader import batches, mmap
from tasks.core.data.loader.window_buffer import WindowBuffer
from tasks.core.data.tensors.cache import Split
from tasks.core.errors import DivergedError
from tasks.core.model.architectures import build
from tasks.core.model.devices import device
from tasks.core.model.devices.replicas import SINGLE_DEVICE, SingleDevice, all_reduce_sum
from tasks.core.model.export import inference_model
from tasks.core.model.training import augmentation, optimizers, schedules
from tasks.core.model.training import loss as loss_module
from tasks.core.model.training.checkpoint import Checkpoint
from tasks.core.model.training.steps import StepPlan

DIVERGENCE_FACTOR = 1000  # times the loss of guessing: a loss that large never came back


@dataclass(frozen=True)
class Best:
    """The model as it was when it did best on the validation images.

    Args:
        epoch: Whole epochs done then.
        val_loss: Mean cross-entropy on the validation images.
        val_accuracy: On the validation images, 0..1.
        values: Of the model's variables, in their order.
    """

    epoch: int
    val_loss: float
    val_accuracy: float
    values: list[NDArray[np.float32]]


class Trainer:
    """A training at some step.

    Args:
        plan: Its course.
        train: Images to learn from.
        val: Images to judge by.
        classes: Number of classes.
        policy: Keras' name of the precision to calculate in.
        team: Who trains; every process of it has a trainer with the same arguments.
    """

    def __init__(
        self,
        plan: StepPlan,
        train: Split,
        val: Split,
        classes: int,
        policy: str = device.FULL,
        devices: SingleDevice = SINGLE_DEVICE,
    ) -> None:
        self.plan, self.train, self.val, self.policy, self.devices = plan, train, val, policy, devices
        with devices.scope():
            self.model = build.build(plan.recipe, train.images, classes, plan.seed, policy)
            self.optimizer = optimizers.build(plan.recipe, self.model, optimizers.BIAS_RATE)
        self.buffer = WindowBuffer(train.images, plan.shuffle)
        self.rates = schedules.learning_rates(plan.recipe, plan.steps)
        self.divergence_threshold = DIVERGENCE_FACTOR * float(np.log(classes))
        self.offsets = tf.constant(loss_module.class_offsets(plan.recipe, train.labels, classes))
        self.variables = [variable.value for variable in self.model.variables] + self.optimizer.state
        self.history: list[dict[str, float]] = []
        self.epoch_totals = [0.0, 0.0, 0.0, 0.0]  # of the epoch so far: loss, right, images, seconds
        self.step = 0
        self.best: Best | None = None  # kept only if early stopping is on
        self.consistent = True  # whether variables, step and sums are of one moment
        batch = (None, len(devices.process_share(np.arange(plan.recipe.batch_size))))
        self._train_steps = tf.function(
            self._steps,
            autograph=False,  # translating Python's loops and branches made half of the trace's cost
            input_signature=[  # one trace serves windows of any length
                tf.TensorSpec((*batch, *train.images.shape[1:]), tf.uint8),
                tf.TensorSpec(batch, tf.int32),
                tf.TensorSpec((None,), tf.float32),
            ],
        )
        self._eval_step = tf.function(
            self._evaluate_batch,
            autograph=False,
            input_signature=[tf.TensorSpec((None, *train.images.shape[1:]), tf.uint8)],
        )

    @property
    def done(self) -> bool:
        """Whether every step is made, or validation has not improved for as long as is to be borne."""
        patience = self.plan.recipe.patience
        tired = patience and self.best and len(self.history) - self.best.epoch >= patience
        return self.step == self.plan.steps or bool(tired)

    def restore(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint of the same plan."""
        count = len(self.variables)
        for variable, value in zip(self.variables, saved.arrays[:count], strict=True):
            variable.assign(value)
        self.step, self.history, self.epoch_totals = saved.step, saved.facts["history"], saved.facts["sums"]
        if saved.facts["best"]:
            self.best = Best(**saved.facts["best"], values=list(saved.arrays[count:]))

    def checkpoint(self) -> Checkpoint:
        """All that `restore` needs."""
        arrays = [variable.numpy() for variable in self.variables]
        facts = {"history": self.history, "sums": self.epoch_totals, "best": None}
        if self.best:
            arrays += self.best.values
            facts["best"] = {
                "epoch": self.best.epoch,
                "val_loss": self.best.val_loss,
                "val_accuracy": self.best.val_accuracy,
            }
        return Checkpoint(self.step, arrays, facts)

    def take_best(self) -> None:
        """Put back the variables of the best epoch, if early stopping kept them."""
        if self.best:
            for variable, value in zip(self.model.variables, self.best.values, strict=True):
                variable.assign(value)

    def run(self, end: int) -> float:
        """Train up to step `end`, all within one epoch; gives the seconds that it took.

        Raises:
            DivergedError: A loss was not a number any more, or beyond hope.
        """
        began, start = time.perf_counter(), self.step
        images, labels = self._window(start, end)
        self.consistent = False
        losses, right = self._train_steps(images, labels, tf.constant(self.rates[start:end]))
        self._count(losses.numpy(), right.numpy(), start)
        self.step = end
        seconds = time.perf_counter() - began
        self.epoch_totals[3] += seconds
        self.consistent = True
        return seconds

    def close_epoch(self) -> dict[str, float]:
        """Score the validation images and start new sums."""
        loss, right, images, seconds = self.epoch_totals
        val_loss, val_accuracy = self.validate()
        entry = {
            "epoch": self.step / self.plan.per_epoch,
            "train_loss": loss / images,
            "train_accuracy": right / images,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": float(self.rates[self.step - 1]),
            "images_per_second": images / seconds,
            "seconds": seconds,
        }
        self.history.append(entry)
        self.epoch_totals = [0.0, 0.0, 0.0, 0.0]
        if self.plan.recipe.patience and (self.best is None or val_loss < self.best.val_loss):
            values = [np.asarray(variable) for variable in self.model.variables]
            self.best = Best(len(self.history), val_loss, val_accuracy, values)
        return entry

    def validate(self) -> tuple[float, float]:
        """Mean cross-entropy and accuracy on the validation images, of the model as it would be published.

        But in the precision of the training: a published model calculates in float32.
        """
        logits, labels = self.val_logits().astype(np.float64), self.val.labels
        logits -= logits.max(axis=1, keepdims=True)
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        loss = -logs[np.arange(len(labels)), labels].mean()
        return float(loss), float((logits.argmax(axis=1) == labels).mean())

    def val_logits(self) -> NDArray[np.float32]:
        """Logits of the validation images by the model as it would be published, float32 (N, classes)."""
        return np.concatenate(
            [
                self._eval_step(
                    tf.constant(mmap.read_rows(self.val.images, self.devices.process_share(rows)))
                ).numpy()[:count]
                for rows, count in batches.replica_rounds(self.val.images, self.devices.replicas)
            ]
        )

    def _window(self, start: int, end: int) -> tuple[tf.Tensor, tf.Tensor]:
        epoch = self.plan.epoch(start)
        places = self.devices.process_share(self.plan.positions(start, end))
        images = self.buffer.take(epoch, places.ravel())
        rows = self.plan.shuffle.order(epoch)[places]
        if self.plan.recipe.augment == "shift":
            reach = self.plan.recipe.max_shift
            images = augmentation.shift(images, rows.ravel(), self.plan.seed, epoch, reach)
        labels = self.train.labels[rows]
        return tf.constant(images.reshape(*labels.shape, *images.shape[1:])), tf.constant(labels)

    def _steps(self, images: tf.Tensor, labels: tf.Tensor, rates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        count = tf.shape(rates)[0]

        def body(step: tf.Tensor, losses: tf.TensorArray, right: tf.TensorArray) -> tuple[Any, ...]:
            loss, hits = self.devices.run(self._step, images[step], labels[step], rates[step])
            return step + 1, losses.write(step, loss), right.write(step, hits)

        start = (tf.constant(0), tf.TensorArray(tf.float32, count), tf.TensorArray(tf.int32, count))
        # Two steps at once would take each other's messages between replicas, and wait for ever.
        at_once = 10 if self.devices.replicas == 1 else 1
        _, losses, right = tf.while_loop(
            lambda step, *_: step < count, body, start, parallel_iterations=at_once
        )
        return losses.stack(), right.stack()

    def _step(self, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = self.devices.replica_share(images), self.devices.replica_share(labels)
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss = self._loss(logits, labels)
        trainable = [variable.value for variable in self.model.trainable_variables]
        self.optimizer.update(tape.gradient(loss, trainable), rate)
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
        return self._totals(loss, tf.reduce_sum(tf.cast(hits, tf.int32)))

    def _totals(self, loss: tf.Tensor, hits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Over all replicas; in one sum, since each costs a round of messages."""
        if self.devices.replicas == 1:
            return loss, hits
        (both,) = all_reduce_sum([tf.stack([loss, tf.cast(hits, tf.float32)])])
        return both[0], tf.cast(both[1], tf.int32)

    def _loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross-entropy with label smoothing (Szegedy et al., 2016), of logits moved by class."""
        smooth = self.plan.recipe.label_smoothing
        classes = logits.shape[1]
        targets = tf.one_hot(labels, classes, 1 - smooth + smooth / classes, smooth / classes)
        moved = tf.cast(logits, tf.float32) + self.offsets
        mean = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, moved))
        if self.devices.replicas == 1:
            return mean
        return mean * (labels.shape[0] / self.plan.recipe.batch_size)  # this replica's share of the batch's

    def _evaluate_batch(self, images: tf.Tensor) -> tf.Tensor:
        def joined(images: tf.Tensor) -> tf.Tensor:
            return self.devices.all_gather(self._logits(self.devices.replica_share(images)))

        return self.devices.run(joined, images)

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        logits = self.model(images, training=False)
        if inference_model.tta_views(self.plan.recipe, images.shape[-1]) == 2:
            # tf.reverse takes a sixth of the time of a slice with a negative step.
            logits = (logits + self.model(tf.reverse(images, [2]), training=False)) / 2
        return tf.cast(logits, tf.float32)

    def _count(self, losses: NDArray[np.float32], right: NDArray[np.int32], start: int) -> None:
        """Add a window to the epoch's sums, one step after the other: then its length changes no bit."""
        size = self.plan.recipe.batch_size
        for number, (loss, hits) in enumerate(zip(losses.tolist(), right.tolist(), strict=True), start):
            if not loss < self.divergence_threshold:
                raise self._diverged(loss, number)
            self.epoch_totals[0] += loss * size
            self.epoch_totals[1] += hits
            self.epoch_totals[2] += size

    def _diverged(self, loss: float, step: int) -> DivergedError:
        return DivergedError(
            "training diverged",
            expected=f"a loss below {self.divergence_threshold:.0f}: {DIVERGENCE_FACTOR} times guessing's",
            found=f"{loss:.4g} at step {step + 1} of {self.plan.steps} "
            f"(epoch {step / self.plan.per_epoch:.2f}), learning rate {self.rates[step]:.4g}",
            done="nothing was published",
            todo=f"try --learning-rate {self.plan.recipe.learning_rate / 4:g}, or a larger --batch-size",
        )
