"""A model in training: its state, and the compiled function that evaluates it."""

import time
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import Split
from tasks.core.errors import DivergedError
from tasks.core.model.architectures import build
from tasks.core.model.devices import device
from tasks.core.model.devices.replicas import SINGLE_DEVICE, SingleDevice
from tasks.core.model.training import optimizers
from tasks.core.model.training.batches import resident_images
from tasks.core.model.training.batches.host_images import HostImages
from tasks.core.model.training.batches.image_order import ImageOrder
from tasks.core.model.training.batches.resident_images import ResidentImages
from tasks.core.model.training.checkpoint import Checkpoint
from tasks.core.model.training.evaluator import Evaluator
from tasks.core.model.training.loss import class_offsets
from tasks.core.model.training.step_functions import StepFunctions
from tasks.core.model.training.steps import StepPlan
from tasks.core.recipes import Recipe

DIVERGENCE_FACTOR = 1000  # a loss above this multiple of log(classes) has diverged; no such run recovered


@dataclass(frozen=True)
class Best:
    """The model at the epoch with the lowest validation loss.

    Args:
        epoch: Number of epochs done at that point.
        val_loss: Mean cross-entropy on the validation images.
        val_accuracy: Accuracy on the validation images, 0..1.
        values: Values of the model's variables, in their order.
    """

    epoch: int
    val_loss: float
    val_accuracy: float
    values: list[NDArray[np.float32]]


class Build(Protocol):
    """Builds a network, as `architectures.build.build` does."""

    def __call__(
        self, recipe: Recipe, images: NDArray[np.uint8], classes: int, seed: int, policy: str
    ) -> keras.Model:
        """Build it for images like these."""


class Trainer:
    """A training at some step.

    Args:
        plan: Number of steps and the images of each step.
        train: Images to train on.
        val: Images for the validation after each epoch.
        classes: Number of classes.
        policy: Keras' name of the precision to calculate in.
        devices: Replicas that share each batch; every process of a cluster has a trainer with the same
            arguments.
        build_network: Builds the network; the default is the recipe's own.
        on_gpu: Whether the images stay on the device, if they can (`batches.resident_images`), and more
            images are evaluated at once.

    Attributes:
        step: Number of steps done.
        history: One entry per finished epoch.
        epoch_totals: Sums over the current epoch so far: loss, correct predictions, images, seconds.
        best: The best epoch so far; None unless early stopping is on.
        consistent: Whether variables, step and sums belong to the same step.
    """

    def __init__(
        self,
        plan: StepPlan,
        train: Split,
        val: Split,
        classes: int,
        policy: str = device.FULL,
        devices: SingleDevice = SINGLE_DEVICE,
        build_network: Build = build.build,
        on_gpu: bool = False,
    ) -> None:
        self.plan, self.train, self.val, self.policy, self.devices = plan, train, val, policy, devices
        self.on_gpu, self.order = on_gpu, ImageOrder(plan)
        with devices.scope():
            self.model = build_network(plan.recipe, train.images, classes, plan.seed, policy)
            self.optimizer = optimizers.build(plan.recipe, self.model, optimizers.BIAS_RATE)
            self.batches = self._batches(on_gpu)
        self.learning_rates = plan.learning_rates()
        self.divergence_threshold = DIVERGENCE_FACTOR * float(np.log(classes))
        self.class_offsets = class_offsets(plan.recipe, train.labels, classes)
        self.variables = [variable.value for variable in self.model.variables] + self.optimizer.state
        self.history: list[dict[str, float]] = []
        self.epoch_totals = [0.0, 0.0, 0.0, 0.0]
        self.step = 0
        self.best: Best | None = None
        self.consistent = True
        self._val_logits: NDArray[np.float32] | None = None  # of the variables as they are now
        self._steps = StepFunctions(
            plan, self.model, self.optimizer, self.batches, devices, self.class_offsets
        )
        self.evaluator = Evaluator(plan.recipe, self.model, devices, self.class_offsets, on_gpu)

    @property
    def done(self) -> bool:
        """Whether all steps are done, or validation has not improved for `patience` epochs."""
        patience = self.plan.recipe.patience
        out_of_patience = patience and self.best and len(self.history) - self.best.epoch >= patience
        return self.step == self.plan.steps or bool(out_of_patience)

    def restore(self, saved: Checkpoint) -> None:
        """Set the state to that of a checkpoint of a training with the same plan."""
        self._val_logits = None
        count, ordered = len(self.variables), len(self.variables) + len(self.order.state)
        for variable, value in zip(self.variables, saved.arrays[:count], strict=True):
            variable.assign(value)
        self.order.restore(list(saved.arrays[count:ordered]))
        self.step, self.history, self.epoch_totals = saved.step, saved.facts["history"], saved.facts["sums"]
        if saved.facts["best"]:
            self.best = Best(**saved.facts["best"], values=list(saved.arrays[ordered:]))

    def checkpoint(self) -> Checkpoint:
        """The current state, from which `restore` continues."""
        arrays = [variable.numpy() for variable in self.variables] + self.order.state
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
        """Set the model to the weights of the best epoch, if early stopping is on."""
        if self.best:
            self._val_logits = None
            for variable, value in zip(self.model.variables, self.best.values, strict=True):
                variable.assign(value)

    def run(self, end: int) -> float:
        """Train up to step `end`.

        Args:
            end: Step to stop before, in the same window as the current step (`StepPlan.window`).

        Returns:
            Duration in seconds.

        Raises:
            DivergedError: A loss is NaN or above the divergence threshold.
        """
        started, start = time.perf_counter(), self.step
        window, labels = self.batches.window(start, end), self._labels(start, end)
        self.consistent, self._val_logits = False, None
        rates = tf.constant(self.learning_rates[start:end])
        losses, correct, each = self._steps.at(start)(window, labels, rates)
        self._add_to_totals(losses.numpy(), correct.numpy(), start)
        self.order.tell(start, end, each.numpy())
        self.step = end
        seconds = time.perf_counter() - started
        self.epoch_totals[3] += seconds
        self.consistent = True
        return seconds

    def close_epoch(self) -> dict[str, float]:
        """Evaluate the validation images, append an entry to the history and reset the epoch's sums.

        Returns:
            The new entry of `history`.
        """
        loss, correct, images, seconds = self.epoch_totals
        val_loss, val_accuracy = self.validate()
        entry = {
            "epoch": self.step / self.plan.per_epoch,
            "train_loss": loss / images,
            "train_accuracy": correct / images,
            "val_loss": val_loss,
            "val_accuracy": val_accuracy,
            "learning_rate": float(self.learning_rates[self.step - 1]),
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
        """Mean cross-entropy and accuracy of the model as it would be published, on the validation images.

        Only the precision is that of the training; a published model calculates in float32. Before the last
        step the model takes one view, unless early stopping is on.
        """
        labels, logits = self.val.labels, self._logits_of_this_epoch().astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        loss = -log_probabilities[np.arange(len(labels)), labels].mean()
        return float(loss), float((logits.argmax(axis=1) == labels).mean())

    def val_logits(self) -> NDArray[np.float32]:
        """Logits of the validation images, of the model as it would be published, float32 (N, classes)."""
        if self._val_logits is None:
            self._val_logits = self.evaluator.logits(self.val.images)
        return self._val_logits

    def _logits_of_this_epoch(self) -> NDArray[np.float32]:
        count = self.evaluator.views_of_an_epoch
        if self.step == self.plan.steps or count == self.plan.recipe.tta_views:
            return self.val_logits()
        return self.evaluator.logits(self.val.images, count)

    def _batches(self, on_gpu: bool) -> HostImages | ResidentImages:
        if on_gpu and resident_images.is_possible(self.plan, self.train.images, self.devices):
            return ResidentImages(self.order, self.train.images)
        return HostImages(self.order, self.train.images, self.devices)

    def _labels(self, start: int, end: int) -> tf.Tensor:
        """This process's labels of a window, int32 (steps, n)."""
        return tf.constant(self.train.labels[self.devices.process_share(self.order.rows(start, end))])

    def _add_to_totals(self, losses: NDArray[np.float32], correct: NDArray[np.int32], start: int) -> None:
        """Add a window to the epoch's sums, step by step, so that the window's length changes no bit."""
        size = self.plan.recipe.batch_size
        for step, (loss, hits) in enumerate(zip(losses.tolist(), correct.tolist(), strict=True), start):
            if not loss < self.divergence_threshold:
                raise self._diverged(loss, step)
            self.epoch_totals[0] += loss * size
            self.epoch_totals[1] += hits
            self.epoch_totals[2] += size

    def _diverged(self, loss: float, step: int) -> DivergedError:
        return DivergedError(
            "training diverged",
            expected=f"a loss below {self.divergence_threshold:.0f}, {DIVERGENCE_FACTOR} times guessing's",
            found=f"{loss:.4g} at step {step + 1} of {self.plan.steps} "
            f"(epoch {step / self.plan.per_epoch:.2f}), learning rate {self.learning_rates[step]:.4g}",
            done="nothing was published",
            todo=f"try --learning-rate {self.plan.recipe.learning_rate / 4:g}, or a larger --batch-size",
        )
