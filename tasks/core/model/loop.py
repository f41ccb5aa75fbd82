"""The training loop: windows of batches, one call of a compiled function each.

Everything random is a function of the seed, the epoch and the row, so a checkpoint needs no random state
beyond the variables: going on from it ends with the same bytes as never having stopped.
"""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core import recipes, stage
from tasks.core.config import TrainSettings
from tasks.core.data.cache import Split, open_split
from tasks.core.errors import DivergedError
from tasks.core.handles import TensorCache
from tasks.core.model import architectures, augment, checkpoint, export, optimizer, predictions
from tasks.core.model.checkpoint import Checkpoint
from tasks.core.progress import Progress
from tasks.core.recipes import Recipe

log = logging.getLogger("plumbline.train")

WINDOW = 4096 * 32 * 32 * 3  # values in a window: some 4,096 CIFAR images, around a second of training
INTERVAL = 30.0  # seconds between checkpoints within an epoch
SAID = 1.0  # seconds between lines in the log, however short the epochs


@dataclass(frozen=True)
class Plan:
    """The steps of a training, fixed before it starts.

    Args:
        per_epoch: Steps in an epoch; the rows that don't fill a last batch wait for the next epoch's order.
        steps: Steps in all.
        window: Steps in a window, at most.
    """

    recipe: Recipe
    seed: int
    images: int
    per_epoch: int
    steps: int
    window: int

    @classmethod
    def of(cls, recipe: Recipe, seed: int, shape: tuple[int, ...]) -> "Plan":
        per_epoch = max(1, shape[0] // recipe.batch_size)
        window = max(1, WINDOW // (recipe.batch_size * int(np.prod(shape[1:]))))
        steps = max(1, round(recipe.epochs * per_epoch))
        return cls(recipe, seed, shape[0], per_epoch, steps, window)

    def windows(self, start: int) -> Iterator[tuple[int, int]]:
        """First and one-past-last step of each window from step `start` on; none crosses an epoch."""
        while start < self.steps:
            epoch_end = (start // self.per_epoch + 1) * self.per_epoch
            end = min(start + self.window, epoch_end, self.steps)
            yield start, end
            start = end

    def rows(self, start: int, end: int) -> NDArray[np.int64]:
        """Row numbers of the steps start..end, in their order; all of one epoch."""
        epoch, first = divmod(start, self.per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.images)
        size = self.recipe.batch_size
        return order[first * size : (first + end - start) * size]


class Trainer:
    """A model in training: its variables, its compiled functions, its history."""

    def __init__(self, plan: Plan, train: Split, val: Split, classes: int) -> None:
        self.plan, self.train, self.val = plan, train, val
        self.model = architectures.build(plan.recipe, train.images, classes, plan.seed)
        self.optimizer = optimizer.build(plan.recipe, self.model, architectures.BIAS_RATE)
        self.rates = optimizer.learning_rates(plan.recipe, plan.steps)
        self.weights = tf.constant(_class_weights(plan.recipe, train.labels, classes))
        self.variables = [variable.value for variable in self.model.variables] + self.optimizer.state
        self.history: list[dict[str, float]] = []
        self.sums = [0.0, 0.0, 0.0, 0.0]  # of the epoch so far: loss, right, images, seconds
        self.step = 0
        self._run = tf.function(self._steps, reduce_retracing=True)
        self._predict = tf.function(lambda images: self.model(images, training=False), reduce_retracing=True)

    def restore(self, saved: Checkpoint) -> None:
        for variable, value in zip(self.variables, saved.arrays, strict=True):
            variable.assign(value)
        self.step, self.history, self.sums = saved.step, saved.facts["history"], saved.facts["sums"]

    def checkpoint(self) -> Checkpoint:
        arrays = [variable.numpy() for variable in self.variables]
        return Checkpoint(self.step, arrays, {"history": self.history, "sums": self.sums})

    def run(self, start: int, end: int) -> None:
        """Train the steps start..end."""
        began = time.perf_counter()
        images, labels = self._window(start, end)
        loss, right = self._run(images, labels, tf.constant(self.rates[start:end]))
        self._check(float(loss), start, end)
        count = (end - start) * self.plan.recipe.batch_size
        made = (float(loss) * self.plan.recipe.batch_size, float(right), count, time.perf_counter() - began)
        self.sums = [old + new for old, new in zip(self.sums, made, strict=True)]
        self.step = end

    def close_epoch(self) -> dict[str, float]:
        """Score the validation images and start new sums."""
        loss, right, images, seconds = self.sums
        val_loss, val_accuracy = self._validate()
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
        self.sums = [0.0, 0.0, 0.0, 0.0]
        return entry

    def _window(self, start: int, end: int) -> tuple[tf.Tensor, tf.Tensor]:
        rows = self.plan.rows(start, end)
        images = np.asarray(self.train.images[rows])
        if self.plan.recipe.augment == "shift":
            images = augment.shift(images, rows, self.plan.seed, start // self.plan.per_epoch)
        steps, size = end - start, self.plan.recipe.batch_size
        labels = self.train.labels[rows].reshape(steps, size)
        return tf.constant(images.reshape(steps, size, *images.shape[1:])), tf.constant(labels)

    def _steps(self, images: tf.Tensor, labels: tf.Tensor, rates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        losses, right = tf.constant(0.0), tf.constant(0.0)
        for step in tf.range(tf.shape(rates)[0]):
            with tf.GradientTape() as tape:
                logits = self.model(images[step], training=True)
                loss = self._loss(logits, labels[step])
            trainable = [variable.value for variable in self.model.trainable_variables]
            self.optimizer.update(tape.gradient(loss, trainable), rates[step])
            losses += loss
            hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels[step])
            right += tf.reduce_sum(tf.cast(hits, tf.float32))
        return losses, right

    def _loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Cross-entropy with label smoothing (Szegedy et al., 2016), weighted by class."""
        smooth = self.plan.recipe.label_smoothing
        classes = logits.shape[1]
        targets = tf.one_hot(labels, classes, 1 - smooth + smooth / classes, smooth / classes)
        losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        weights = tf.gather(self.weights, labels)
        return tf.reduce_mean(losses * weights)

    def _validate(self) -> tuple[float, float]:
        loss = right = 0.0
        for start, images in _with_starts(predictions.batches(self.val.images)):
            labels = self.val.labels[start : start + len(images)]
            logits = self._predict(tf.constant(images)).numpy().astype(np.float64)
            logits -= logits.max(axis=1, keepdims=True)
            logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
            loss -= float(logs[np.arange(len(labels)), labels].sum())
            right += float((logits.argmax(axis=1) == labels).sum())
        return loss / len(self.val.labels), right / len(self.val.labels)

    def _check(self, loss: float, start: int, end: int) -> None:
        if np.isfinite(loss):
            return
        raise DivergedError(
            "training diverged: the loss is not a number any more",
            expected="a finite loss",
            found=f"{loss} within steps {start}..{end} of {self.plan.steps}, "
            f"learning rate {self.rates[start:end].max():.4g}",
            done="nothing was published",
            todo=f"try --learning-rate {self.plan.recipe.learning_rate / 4:g}, or a larger --batch-size",
        )


def train(
    tensors: TensorCache, settings: TrainSettings, directory: Path, checkpoints: Path, progress: Progress
) -> dict[str, Any]:
    """Train and write `model.keras`, `weights.npz` and `history.parquet` into `directory`.

    Args:
        checkpoints: Folder of the training's checkpoints; going on starts from there.

    Returns:
        The fields of `TrainedModel` besides path and digest.
    """
    tf.config.experimental.enable_op_determinism()
    train_split, val_split = open_split(tensors, "train"), open_split(tensors, "val")
    recipe = recipes.resolve(settings, tensors.train)
    plan = Plan.of(recipe, settings.seed, train_split.images.shape)
    trainer = Trainer(plan, train_split, val_split, len(tensors.classes))
    resumed = _resume(trainer, checkpoints)
    _run(trainer, checkpoints, progress)
    published = architectures.published(recipe, trainer.model)
    export.write_weights(trainer.model, directory / "weights.npz")
    export.write_keras(published, directory / "model.keras")
    pd.DataFrame(trainer.history).to_parquet(directory / "history.parquet", index=False)
    return {
        "model_sha256": stage.sha256_file(directory / "model.keras"),
        "recipe": recipe.name.value,
        "epochs": plan.steps / plan.per_epoch,
        "val_accuracy": trainer.history[-1]["val_accuracy"],
        "resumed": resumed,
    }


def _resume(trainer: Trainer, checkpoints: Path) -> str:
    saved, damaged = checkpoint.latest(checkpoints)
    for path in damaged:
        log.warning("%s is damaged and was passed over", path.name)
    if saved is None:
        return ""
    trainer.restore(saved)
    seconds = sum(entry["seconds"] for entry in trainer.history) + trainer.sums[3]
    words = f"resumed at epoch {trainer.step / trainer.plan.per_epoch:.1f}, {seconds:.0f} s saved"
    log.info(words)
    return words


def _run(trainer: Trainer, checkpoints: Path, progress: Progress) -> None:
    """Every window that is left; a checkpoint at each epoch's end, every 30 s, and when interrupted."""
    plan, first = trainer.plan, trainer.step
    began = saved = time.monotonic()
    said = 0.0
    try:
        for start, end in plan.windows(trainer.step):
            trainer.run(start, end)
            ends_epoch = end % plan.per_epoch == 0 or end == plan.steps
            if ends_epoch:
                entry = trainer.close_epoch()
                if time.monotonic() - said > SAID or end == plan.steps:
                    _say(plan, entry, began, first, end)
                    said = time.monotonic()
            if ends_epoch or time.monotonic() - saved > INTERVAL:
                checkpoint.save(checkpoints, trainer.checkpoint())
                saved = time.monotonic()
            progress(end / plan.per_epoch, plan.steps / plan.per_epoch, _note(trainer, began, first))
    except (KeyboardInterrupt, SystemExit):
        checkpoint.save(checkpoints, trainer.checkpoint())
        log.info("stopped at epoch %.2f; the next run goes on from there", trainer.step / plan.per_epoch)
        raise


def _say(plan: Plan, entry: dict[str, float], began: float, first: int, step: int) -> None:
    log.info(
        "  epoch %g/%g  loss %.3f  accuracy %.1f %%  val %.1f %%  %s img/s  %s left",
        round(entry["epoch"], 2),
        round(plan.steps / plan.per_epoch, 2),
        entry["train_loss"],
        100 * entry["train_accuracy"],
        100 * entry["val_accuracy"],
        f"{entry['images_per_second']:,.0f}",
        _left(plan, began, first, step),
    )


def _note(trainer: Trainer, began: float, first: int) -> str:
    loss, right, images, seconds = trainer.sums
    left = _left(trainer.plan, began, first, trainer.step)
    if not images:
        return f"{left} left"
    return (
        f"loss {loss / images:.3f}, accuracy {right / images:.1%}, {images / seconds:,.0f} img/s, {left} left"
    )


def _left(plan: Plan, began: float, first: int, step: int) -> str:
    seconds = (time.monotonic() - began) / max(1, step - first) * (plan.steps - step)
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def _class_weights(recipe: Recipe, labels: NDArray[np.int32], classes: int) -> NDArray[np.float32]:
    """Weights by which the loss counts each class, 1 on average over the images.

    With `balance`, the square root of the inverse frequency: full inverse weights let a class of ten
    images shout down one of nine hundred.
    """
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    if not recipe.balance or counts.min() == counts.max():
        return np.ones(classes, np.float32)
    weights = 1 / np.sqrt(np.maximum(counts, 1))
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)


def _with_starts(batches: Iterator[NDArray[np.uint8]]) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    start = 0
    for batch in batches:
        yield start, batch
        start += len(batch)
