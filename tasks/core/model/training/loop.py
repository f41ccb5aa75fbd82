"""The training loop: runs windows of steps; writes checkpoints and handles stop signals between windows.

Everything random is a function of the seed, the epoch and the row, so a checkpoint needs no random state
beyond the variables. A resumed training ends with the same bytes as an uninterrupted one.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core import recipes
from tasks.core.config import TrainSettings
from tasks.core.data.tensors.cache import Split, open_split
from tasks.core.errors import DataError, DivergedError
from tasks.core.metrics import temperature
from tasks.core.model.devices import device, signals
from tasks.core.model.export import inference_model, keras_file
from tasks.core.model.export.description import Description
from tasks.core.model.training import checkpoint
from tasks.core.model.training.log import TrainingLog
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Trainer
from tasks.core.progress import Progress
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import hashing

log = logging.getLogger("plumbline.train")

WINDOW_SECONDS = 1.0  # target duration of a window in seconds; a stop signal waits at most that long
MAX_WINDOW_BYTES = 1024 * 32 * 32 * 3  # maximum bytes of images in a window
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
    """

    tensors: TensorCache
    settings: TrainSettings
    leaks: Mapping[str, NDArray[np.bool_]]
    checkpoints: Path
    digest: str


def train(job: TrainingJob, directory: Path, progress: Progress) -> dict[str, Any]:
    """Train and write `model.keras`, `weights.npz` and `history.parquet` into `directory`.

    Args:
        job: What to train.
        directory: Existing directory for the files.
        progress: Called with epochs done.

    Returns:
        The fields of `TrainedModel` except path and digest.

    Raises:
        DataError: All images of a split are left out as leaks.
        DivergedError: The loss is NaN or above the divergence threshold.
        LostWorkerError: Another process of the cluster is gone.
    """
    trainer, resumed, fitted_temperature = follow(job, progress)
    recipe = trainer.plan.recipe
    keras_file.write_weights(trainer.model, directory / "weights.npz")
    keras_file.write_keras(
        inference_model.build_inference_model(recipe, trainer.model, fitted_temperature),
        directory / "model.keras",
        Description.of(job.tensors, recipe.name.value),
    )
    pd.DataFrame(trainer.history).to_parquet(directory / "history.parquet", index=False)
    return {
        "model_sha256": hashing.sha256_file(directory / "model.keras"),
        "recipe": recipe.name.value,
        "epochs": trainer.step / trainer.plan.per_epoch,
        "val_accuracy": trainer.best.val_accuracy if trainer.best else trainer.history[-1]["val_accuracy"],
        "resumed": resumed,
        "temperature": fitted_temperature,
        "replicas": trainer.devices.replicas,
        "precision": trainer.policy,
        "device": device.name(),
    }


def follow(job: TrainingJob, progress: Progress) -> tuple[Trainer, str, float]:
    """Train without writing a model; the workers of a cluster other than the chief do only this.

    Args:
        job: What to train.
        progress: Called with epochs done.

    Returns:
        The finished trainer; a sentence on how the training was resumed, or ""; and the temperature that
        calibrates the model.

    Raises:
        DataError, DivergedError, LostWorkerError: As `train`.
        UsageError: The processes of the cluster have different jobs, or the batch cannot be shared.
    """
    tf.config.experimental.enable_op_determinism()
    train, val = (_open_without_leaks(job.tensors, split, job.leaks.get(split)) for split in ("train", "val"))
    recipe = recipes.resolve(job.settings, len(train.labels))
    devices = device.everything()
    with devices.detect_lost_workers():
        devices.check_same_job(job.digest)
        devices.check_batch_size(recipe)
        image_bytes = int(np.prod(job.tensors.shape))
        plan = StepPlan.of(recipe, job.settings.seed, len(train.labels), image_bytes)
        policy = device.policy(recipe.precision)
        trainer = Trainer(plan, train, val, len(job.tensors.classes), policy, devices)
        resumed = resume(trainer, job.checkpoints)
        run(trainer, job.checkpoints, progress)
        return trainer, resumed, temperature.fit(val.labels, trainer.val_logits())


def _open_without_leaks(tensors: TensorCache, split: str, leaks: NDArray[np.bool_] | None) -> Split:
    remaining = open_split(tensors, split, without=leaks)
    if not len(remaining.labels):
        raise DataError(
            f"every {split} image has a duplicate in test",
            expected="images without a duplicate in test",
            done="nothing was trained",
            todo="look at the audit's pairs in the report, and correct the splits or leave out --drop-leaks",
        )
    if leaks is not None:
        log.info("  %s leaking images left out of %s", f"{int(leaks.sum()):,}", split)
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
    time_saved = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    resumed = f"resumed at epoch {trainer.step / trainer.plan.per_epoch:.3g}, {time_saved} saved"
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
    bytes_per_step = (
        trainer.plan.recipe.batch_size
        // trainer.devices.processes
        * int(np.prod(trainer.train.images.shape[1:]))
    )
    length = min(
        round(steps * WINDOW_SECONDS / max(seconds, 1e-3)), 4 * steps, MAX_WINDOW_BYTES // bytes_per_step
    )
    return max(1, length)


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
