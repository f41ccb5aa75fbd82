"""The training loop: windows of steps, checkpoints between them, requests to stop heard between them.

Everything random is a function of the seed, the epoch and the row, so a checkpoint needs no random state
beyond the variables: going on from it ends with the same bytes as never having stopped.
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
from tasks.core.model.devices import device
from tasks.core.model.export import inference_model, keras_file
from tasks.core.model.training import checkpoint, signals
from tasks.core.model.training.log import TrainingLog
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Trainer
from tasks.core.progress import Progress
from tasks.core.stage.handles import TensorCache
from tasks.core.storage import hashing

log = logging.getLogger("plumbline.train")

WINDOW_SECONDS = 1.0  # seconds that a window should take: how long a request to stop may have to wait
MAX_WINDOW_BYTES = 1024 * 32 * 32 * 3  # bytes of images in a window, at most
CHECKPOINT_INTERVAL = 30.0  # seconds between checkpoints within an epoch


@dataclass(frozen=True)
class TrainingJob:
    """What is to be trained; equal in every process of a cluster.

    Args:
        tensors: The images.
        settings: How to train.
        leaks: By split, which images to leave out, bool (N,); none of a split that isn't there.
        checkpoints: Folder of the training's checkpoints; going on starts from there.
        digest: Of all that the training follows from.
    """

    tensors: TensorCache
    settings: TrainSettings
    leaks: Mapping[str, NDArray[np.bool_]]
    checkpoints: Path
    digest: str


def train(order: TrainingJob, directory: Path, progress: Progress) -> dict[str, Any]:
    """Train and write `model.keras`, `weights.npz` and `history.parquet` into `directory`.

    Returns:
        The fields of `TrainedModel` besides path and digest.

    Raises:
        DataError: All images of a split were to be left out.
        DivergedError: The loss is not a number any more, or beyond hope.
        LostWorkerError: Another process of the cluster is gone.
    """
    trainer, resumed, warmth = follow(order, progress)
    recipe = trainer.plan.recipe
    keras_file.write_weights(trainer.model, directory / "weights.npz")
    keras_file.write_keras(
        inference_model.build_inference_model(recipe, trainer.model, warmth), directory / "model.keras"
    )
    pd.DataFrame(trainer.history).to_parquet(directory / "history.parquet", index=False)
    return {
        "model_sha256": hashing.sha256_file(directory / "model.keras"),
        "recipe": recipe.name.value,
        "epochs": trainer.step / trainer.plan.per_epoch,
        "val_accuracy": trainer.best.val_accuracy if trainer.best else trainer.history[-1]["val_accuracy"],
        "resumed": resumed,
        "temperature": warmth,
        "replicas": trainer.devices.replicas,
        "precision": trainer.policy,
        "device": device.name(),
    }


def follow(order: TrainingJob, progress: Progress) -> tuple[Trainer, str, float]:
    """Train and keep nothing, which is all that the followers of a cluster's leader do.

    Returns:
        The training at its end, how it was resumed, in words, and the temperature that calibrates it.
    """
    tf.config.experimental.enable_op_determinism()
    train, val = (
        _open_without_leaks(order.tensors, split, order.leaks.get(split)) for split in ("train", "val")
    )
    recipe = recipes.resolve(order.settings, len(train.labels))
    team = device.everything()
    with team.detect_lost_workers():
        team.check_same_job(order.digest)
        team.check_batch_size(recipe)
        image_bytes = int(np.prod(order.tensors.shape))
        plan = StepPlan.of(recipe, order.settings.seed, len(train.labels), image_bytes)
        precision = device.policy(recipe.precision)
        trainer = Trainer(plan, train, val, len(order.tensors.classes), precision, team)
        resumed = resume(trainer, order.checkpoints)
        run(trainer, order.checkpoints, progress)
        return trainer, resumed, temperature.fit(val.labels, trainer.val_logits())


def _open_without_leaks(tensors: TensorCache, split: str, leaks: NDArray[np.bool_] | None) -> Split:
    opened = open_split(tensors, split, without=leaks)
    if not len(opened.labels):
        raise DataError(
            f"Every {split} image has a duplicate in test",
            expected="images of which test has none",
            done="nothing was trained",
            todo="look at the audit's pairs in the report, and mend the splits or do without --drop-leaks",
        )
    if leaks is not None:
        log.info("  %s leaking images left out of %s", f"{int(leaks.sum()):,}", split)
    return opened


def resume(trainer: Trainer, checkpoints: Path) -> str:
    """Go on from the newest whole checkpoint; says so in words, or gives "" if there is none."""
    saved = checkpoint.parsed(
        trainer.devices.broadcast_bytes(_newest(checkpoints) if trainer.devices.is_chief else b"")
    )
    if saved is None:
        return ""
    trainer.restore(saved)
    seconds = sum(entry["seconds"] for entry in trainer.history) + trainer.epoch_totals[3]
    spared = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
    words = f"resumed at epoch {trainer.step / trainer.plan.per_epoch:.3g}, {spared} saved"
    log.info(words)
    return words


def _newest(checkpoints: Path) -> bytes:
    """Content of the newest whole checkpoint; nothing if there is none."""
    content, damaged = checkpoint.newest(checkpoints)
    for path in damaged:
        log.warning("checkpoint %s is damaged and was passed over", path.name)
    return content


def run(trainer: Trainer, checkpoints: Path, progress: Progress) -> None:
    """Every window that is left.

    A checkpoint is written at each epoch's end, every 30 s, and when something stops the training between
    two windows; that something (KeyboardInterrupt, SystemExit, a timeout) then goes on its way.
    """
    telling = TrainingLog(trainer, progress)
    saved, length = time.monotonic(), 1
    try:
        while not trainer.done:
            with signals.deferred_signals():
                start, end = trainer.step, trainer.plan.window(trainer.step, length)
                length = trainer.devices.broadcast_int(_next_length(trainer, end - start, trainer.run(end)))
                ends_epoch = trainer.plan.ends_epoch(end)
                if ends_epoch:
                    telling.epoch(trainer.close_epoch())
                due = ends_epoch or time.monotonic() - saved > CHECKPOINT_INTERVAL
                if due and trainer.devices.is_chief:
                    checkpoint.save(checkpoints, trainer.checkpoint())
                    saved = time.monotonic()
            telling.window()
    except DivergedError:
        raise
    except BaseException:
        _save_on_stop(trainer, checkpoints)
        raise
    trainer.take_best()


def _next_length(trainer: Trainer, steps: int, seconds: float) -> int:
    """Steps that should take `WINDOW_SECONDS`, if `steps` took `seconds`; at most four times as many."""
    bytes_a_step = (
        trainer.plan.recipe.batch_size
        // trainer.devices.processes
        * int(np.prod(trainer.train.images.shape[1:]))
    )
    wanted = min(
        round(steps * WINDOW_SECONDS / max(seconds, 1e-3)), 4 * steps, MAX_WINDOW_BYTES // bytes_a_step
    )
    return max(1, wanted)


def _save_on_stop(trainer: Trainer, checkpoints: Path) -> None:
    """Write where training stopped, if that is between two steps; else the last checkpoint has to serve."""
    if not trainer.consistent:
        return
    if trainer.step and trainer.devices.is_chief:
        checkpoint.save(checkpoints, trainer.checkpoint())
    log.info(
        "stopped at epoch %.2f of %g; the next run goes on from there",
        trainer.step / trainer.plan.per_epoch,
        trainer.plan.steps / trainer.plan.per_epoch,
    )
