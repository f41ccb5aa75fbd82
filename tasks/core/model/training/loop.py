"""The training loop: runs windows of steps; writes checkpoints and handles stop signals between windows.

Everything random is a function of the seed, the epoch and the row, so a checkpoint needs no random state
beyond the variables. A resumed training ends with the same bytes as an uninterrupted one.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray
from scipy.special import softmax

from tasks.core import recipes
from tasks.core.config import TrainSettings
from tasks.core.data.tensors import groups
from tasks.core.data.tensors.cache import Split, open_split
from tasks.core.errors import DataError, DivergedError
from tasks.core.metrics import temperature
from tasks.core.metrics.temperature import Choice
from tasks.core.model.architectures import build
from tasks.core.model.devices import allocator, device, signals
from tasks.core.model.export import inference_model, keras_file
from tasks.core.model.export.description import Description
from tasks.core.model.training import checkpoint
from tasks.core.model.training.log import TrainingLog
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Build, Trainer
from tasks.core.progress import Progress, duration
from tasks.core.recipes import Recipe
from tasks.core.stage.handles import TensorCache, TrainedModel
from tasks.core.storage import hashing

log = logging.getLogger("plumbline.train")

WINDOW_SECONDS = 1.0  # target duration of a window in seconds; a stop signal waits at most that long
MAX_WINDOW_BYTES = 1024 * 32 * 32 * 3  # maximum bytes that the host sends to the device for a window
CHECKPOINT_INTERVAL = 30.0  # seconds between checkpoints within an epoch


@dataclass(frozen=True)
class TrainingJob:
    """What to train; equal in every process of a cluster.

    Args:
        tensors: Tensor cache with the images.
        settings: How to train.
        leaks: By split, a mask of the images to leave out, bool (N,); a split without a mask is complete.
        checkpoints: Directory of the training's checkpoints, from which it resumes.
        digest: Digest of the training's ingredients.
        held_out: Train images to leave out and to predict afterwards, bool (N,); None for none.
    """

    tensors: TensorCache
    settings: TrainSettings
    leaks: Mapping[str, NDArray[np.bool_]]
    checkpoints: Path
    digest: str
    held_out: NDArray[np.bool_] | None = None

    def without(self, split: str) -> NDArray[np.bool_] | None:
        """The images of a split that are not trained on or validated with, bool (N,); None for none."""
        leaks = self.leaks.get(split)
        if split != "train" or self.held_out is None:
            return leaks
        return self.held_out if leaks is None else self.held_out | leaks


@dataclass(frozen=True)
class TrainingInputs:
    """What the loop trains.

    Args:
        train, val: The images, or what a network takes in their place.
        held_out: The images to predict afterwards; None for none.
        build: Builds the network to train, as `architectures.build.build`.
        publish: Makes the model to publish of the recipe, the trained network, the temperature and the
            offsets of the logits.
        facts: More facts for the manifest; JSON values.
    """

    train: Split
    val: Split
    held_out: Split | None
    build: Build
    publish: Callable[[Recipe, keras.Model, float, NDArray[np.float32]], keras.Model]
    facts: Mapping[str, Any] = field(default_factory=dict)


def from_tensors(job: TrainingJob) -> TrainingInputs:
    """The job's tensors and its recipe's network.

    Raises:
        DataError: All images of a split are left out as leaks.
    """
    train, val = (_open_without(job.tensors, split, job.without(split)) for split in ("train", "val"))
    for split, leaks in job.leaks.items():
        log.info("  %s leaking images left out of %s", f"{int(leaks.sum()):,}", split)
    held_out = None if job.held_out is None else open_split(job.tensors, "train", without=~job.held_out)
    facts = {"shape": list(job.tensors.shape)}
    return TrainingInputs(train, val, held_out, build.build, inference_model.build_inference_model, facts)


def train(job: TrainingJob, inputs: TrainingInputs, directory: Path, progress: Progress) -> dict[str, Any]:
    """Train and write `model.keras`, `weights.npz` and `history.parquet` into `directory`.

    Args:
        job: What to train.
        inputs: The images and the network.
        directory: Existing directory for the files.
        progress: Called with epochs done.

    Returns:
        The fields of `TrainedModel` except path and digest.

    Raises:
        DataError: All images of a split are left out as leaks.
        DivergedError: The loss is NaN or above the divergence threshold.
        LostWorkerError: Another process of the cluster is gone.
    """
    trainer, resumed, chosen = fit(job, inputs, progress)
    recipe = trainer.plan.recipe
    keras_file.write_weights(trainer.model, directory / "weights.npz")
    published = inputs.publish(recipe, trainer.model, chosen.temperature, trainer.class_offsets)
    description = Description.of(job.tensors, tuple(inputs.facts["shape"]), recipe.name.value)
    keras_file.write_keras(published, directory / "model.keras", description)
    if inputs.held_out is not None:
        _write_held_out(trainer, inputs, chosen.temperature, directory)
    pd.DataFrame(trainer.history).to_parquet(directory / TrainedModel.HISTORY, index=False)
    return {
        "model_sha256": hashing.sha256_file(directory / "model.keras"),
        "fit": job.tensors.fit,
        **job.tensors.grey_facts,
        "recipe": recipe.name.value,
        "epochs": trainer.step / trainer.plan.per_epoch,
        "val_accuracy": trainer.best.val_accuracy if trainer.best else trainer.history[-1]["val_accuracy"],
        "resumed": resumed,
        "temperature": chosen.temperature,
        "calibration": chosen.reason,
        "replicas": trainer.devices.replicas,
        "precision": trainer.policy,
        "device": device.name(),
        **inputs.facts,
    }


def _write_held_out(trainer: Trainer, inputs: TrainingInputs, temperature: float, directory: Path) -> None:
    """Write the probabilities of the held-out train images and then the val images, float32 (n, classes)."""
    assert inputs.held_out is not None  # noqa: S101 - the caller has checked it
    logits = (
        np.concatenate([trainer.evaluator.logits(inputs.held_out.images), trainer.val_logits()]) / temperature
    )
    np.save(directory / TrainedModel.HELD_OUT, softmax(logits, axis=1).astype(np.float32))


def fit(job: TrainingJob, inputs: TrainingInputs, progress: Progress) -> tuple[Trainer, str, Choice]:
    """Train without writing a model; the workers of a cluster other than the chief do only this.

    Args:
        job: What to train.
        inputs: The images and the network.
        progress: Called with epochs done.

    Returns:
        The finished trainer; a sentence on how the training was resumed, or ""; and the temperature that
        calibrates the model, if there is one.

    Raises:
        DataError, DivergedError, LostWorkerError: As `train`.
        UsageError: The processes of the cluster have different jobs, or the batch cannot be shared.
    """
    tf.config.experimental.enable_op_determinism()
    train, val = inputs.train, inputs.val
    recipe = recipes.resolve(job.settings, len(train.labels))
    allocator.return_memory(build.largest_map(recipe, train.images))
    devices = device.everything()
    with devices.detect_lost_workers():
        devices.check_same_job(job.digest)
        devices.check_batch_size(recipe)
        image_bytes = int(np.prod(train.images.shape[1:])) * train.images.dtype.itemsize
        plan = StepPlan.of(recipe, job.settings.seed, len(train.labels), image_bytes)
        policy = device.policy(recipe.precision)
        classes, on_gpu = len(job.tensors.classes), bool(tf.config.list_physical_devices("GPU"))
        trainer = Trainer(plan, train, val, classes, policy, devices, inputs.build, on_gpu)
        resumed = resume(trainer, job.checkpoints)
        run(trainer, job.checkpoints, progress)
        return trainer, resumed, _temperature(job, trainer)


def _temperature(job: TrainingJob, trainer: Trainer) -> Choice:
    """The temperature by the val images that are not left out."""
    val_groups, left_out = groups.read_groups(job.tensors, "val"), job.without("val")
    if val_groups is not None and left_out is not None:
        val_groups = val_groups[~left_out]
    return temperature.choose(trainer.val.labels, trainer.val_logits(), val_groups)


def _open_without(tensors: TensorCache, split: str, left_out: NDArray[np.bool_] | None) -> Split:
    remaining = open_split(tensors, split, without=left_out)
    if not len(remaining.labels):
        raise DataError(
            f"every {split} image has a duplicate in test",
            expected="images without a duplicate in test",
            done="nothing was trained",
            todo="look at the audit's pairs in the report, and correct the splits or leave out --drop-leaks",
        )
    return remaining


def resume(trainer: Trainer, checkpoints: Path) -> str:
    """Restore the trainer from the newest intact checkpoint, in every process of a cluster.

    Args:
        trainer: A trainer at step 0.
        checkpoints: Directory of the checkpoints; only the chief reads it.

    Returns:
        A sentence on where training resumes; "" if there is no checkpoint.
    """
    saved = checkpoint.parse(
        trainer.devices.broadcast_bytes(_latest_content(checkpoints) if trainer.devices.is_chief else b"")
    )
    if saved is None:
        return ""
    trainer.restore(saved)
    seconds = sum(entry["seconds"] for entry in trainer.history) + trainer.epoch_totals[3]
    resumed = f"resumed at epoch {trainer.step / trainer.plan.per_epoch:.3g}, {duration(seconds)} saved"
    log.info(resumed)
    return resumed


def _latest_content(checkpoints: Path) -> bytes:
    """Content of the newest intact checkpoint; empty if there is none."""
    content, damaged = checkpoint.latest_content(checkpoints)
    for path in damaged:
        log.warning("checkpoint %s is damaged and was skipped", path.name)
    return content


def run(trainer: Trainer, checkpoints: Path, progress: Progress) -> None:
    """Run all remaining windows of steps, and put back the best epoch's weights if early stopping is on.

    A checkpoint is written at the end of each epoch, every 30 s, and when an exception (KeyboardInterrupt,
    SystemExit, a timeout) stops the training between two windows. The exception is then raised again.

    Args:
        trainer: A new or restored trainer.
        checkpoints: Directory of the checkpoints; only the chief writes to it.
        progress: Called with epochs done.

    Raises:
        DivergedError: The loss is NaN or above the divergence threshold.
    """
    training_log = TrainingLog(trainer, progress)
    saved, length = time.monotonic(), 1
    try:
        while not trainer.done:
            with signals.deferred_signals():
                start, end = trainer.step, trainer.plan.window(trainer.step, length)
                length = trainer.devices.broadcast_int(_next_length(trainer, end - start, trainer.run(end)))
                ends_epoch = trainer.plan.ends_epoch(end)
                if ends_epoch:
                    training_log.epoch(trainer.close_epoch())
                due = ends_epoch or time.monotonic() - saved > CHECKPOINT_INTERVAL
                if due and trainer.devices.is_chief:
                    checkpoint.save(checkpoints, trainer.checkpoint())
                    saved = time.monotonic()
            training_log.window()
    except DivergedError:
        raise
    except BaseException:
        _save_on_stop(trainer, checkpoints)
        raise
    trainer.take_best()


def _next_length(trainer: Trainer, steps: int, seconds: float) -> int:
    """Number of steps that should take `WINDOW_SECONDS` if `steps` took `seconds`; at most 4 * `steps`."""
    largest = MAX_WINDOW_BYTES // trainer.batches.step_bytes
    return max(1, min(round(steps * WINDOW_SECONDS / max(seconds, 1e-3)), 4 * steps, largest))


def _save_on_stop(trainer: Trainer, checkpoints: Path) -> None:
    """Save a checkpoint if training stopped between two windows; otherwise the last one remains valid."""
    if not trainer.consistent:
        return
    if trainer.step and trainer.devices.is_chief:
        checkpoint.save(checkpoints, trainer.checkpoint())
    log.info(
        "stopped at epoch %.2f of %g; the next run resumes from there",
        trainer.step / trainer.plan.per_epoch,
        trainer.plan.steps / trainer.plan.per_epoch,
    )
