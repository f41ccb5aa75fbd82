"""The train stage. It can be imported without TensorFlow; only a training loads it."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core import recipes
from tasks.core.config import TrainSettings
from tasks.core.data.audit import duplicate_table
from tasks.core.errors import UsageError
from tasks.core.model.devices import runtime
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Audit, TensorCache, TrainedModel
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import TRAIN
from tasks.core.storage import hashing, manifests
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.train")


def ingredients(tensors: TensorCache, settings: TrainSettings, audit: Audit | None = None) -> Ingredients:
    """Everything that decides a training.

    Args:
        tensors: Tensor cache with the images.
        settings: How to train.
        audit: Needed if `settings.drop_leaks`. Only its lists of leaks are ingredients.

    Raises:
        UsageError: Leaks are to be dropped and there is no audit.
    """
    leaks = _leaks(settings, audit)
    dropped = int(duplicate_table.read_mask(leaks["train"]).sum()) if leaks else 0
    recipe = recipes.resolve(settings, max(1, tensors.train - dropped))
    return TRAIN.ingredients(
        inputs={"tensors": tensors.digest}
        | {f"{split} leaks": hashing.sha256_file(path) for split, path in leaks.items()},
        parameters=recipe.parameters() | {"seed": settings.seed, "drop_leaks": settings.drop_leaks},
    )


def train(
    tensors: TensorCache,
    settings: TrainSettings,
    workspace: Workspace,
    *,
    audit: Audit | None = None,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> TrainedModel:
    """Train a recipe, resuming from the last checkpoint of the same training if there is one.

    Writes `model.keras`, `weights.npz` and `history.parquet`. The checkpoints are in a directory next to the
    output, named by the same digest. It is removed once the output is published.

    Args:
        tensors: Tensor cache with the images.
        settings: How to train.
        workspace: Where the model is written.
        audit: Lists the leaking images; needed if `settings.drop_leaks`.
        refresh: Whether to train again if the model exists.
        progress: Called with epochs done.

    Returns:
        Handle of the trained model.

    Raises:
        DataError: All images of a split are left out as leaks.
        DivergedError: The loss is NaN or above the divergence threshold.
        LostWorkerError: Another process of the cluster is gone.
        UsageError: Leaks are to be dropped and there is no audit, or the cluster's processes disagree.
    """
    training_ingredients = ingredients(tensors, settings, audit)
    checkpoints = _checkpoints(training_ingredients.digest, workspace)
    if refresh:
        shutil.rmtree(checkpoints, ignore_errors=True)

    def build(staging: Path) -> Mapping[str, Any]:
        with runtime.suppress_stderr():
            from tasks.core.model.training import loop

        masks, digest = _masks(settings, audit), training_ingredients.digest
        job = loop.TrainingJob(tensors, settings, masks, checkpoints, digest)
        return loop.train(job, staging, progress)

    trained = TRAIN.output(training_ingredients, workspace, build, refresh=refresh)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return trained


def finished(
    tensors: TensorCache, settings: TrainSettings, workspace: Workspace, audit: Audit | None = None
) -> TrainedModel | None:
    """The existing output of `train` for the same arguments; None if it would have to train."""
    return TRAIN.finished(ingredients(tensors, settings, audit), workspace)


def follow(
    tensors: TensorCache,
    settings: TrainSettings,
    workspace: Workspace,
    *,
    audit: Audit | None = None,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> bool:
    """Train as a worker of the cluster of TF_CONFIG; only its chief writes. Arguments are those of `train`.

    Returns:
        Whether there was anything to train: in a workspace that is shared with the chief, the output may
        already exist.
    """
    digest = ingredients(tensors, settings, audit).digest
    checkpoints = _checkpoints(digest, workspace)
    if not refresh and manifests.is_complete(TRAIN.directory(digest, workspace)):
        return False
    with runtime.suppress_stderr():
        from tasks.core.model.training import loop

    loop.follow(loop.TrainingJob(tensors, settings, _masks(settings, audit), checkpoints, digest), progress)
    return True


def _checkpoints(digest: str, workspace: Workspace) -> Path:
    return TRAIN.directory(f"{digest}.checkpoints", workspace)


def _masks(settings: TrainSettings, audit: Audit | None) -> dict[str, NDArray[np.bool_]]:
    return {split: duplicate_table.read_mask(path) for split, path in _leaks(settings, audit).items()}


def _leaks(settings: TrainSettings, audit: Audit | None) -> dict[str, Path]:
    """By split, the file that lists the images to leave out; empty if leaks are kept."""
    if not settings.drop_leaks:
        return {}
    if audit is None:
        raise UsageError("leaks can only be dropped after an audit", expected="an audit of the tensors")
    return {split: duplicate_table.leaks_path(audit, split) for split in ("train", "val")}
