"""The training stage: importable without TensorFlow, which only an actual training loads."""

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
    """What a training follows from; the audit only where its leaks are dropped, and then only these."""
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
    """Train a recipe, going on from the last checkpoint of the same training if there is one.

    Writes `model.keras`, `weights.npz` and `history.parquet`. The checkpoints lie beside the result, in
    a folder of the same digest that is removed once the result is published.

    Args:
        tensors: The images.
        settings: How to train.
        workspace: Where the model is put.
        audit: Which images leak; needed if the settings have them dropped.
        refresh: Train again even if the model is there.
        progress: Told epochs.

    Raises:
        DivergedError: The loss is not a number any more, or beyond hope.
    """
    made_of = ingredients(tensors, settings, audit)
    checkpoints = _checkpoints(made_of.digest, workspace)
    if refresh:
        shutil.rmtree(checkpoints, ignore_errors=True)

    def build(staging: Path) -> Mapping[str, Any]:
        with runtime.suppress_stderr():
            from tasks.core.model.training import loop

        order = loop.TrainingJob(tensors, settings, _masks(settings, audit), checkpoints, made_of.digest)
        return loop.train(order, staging, progress)

    trained = TRAIN.output(made_of, workspace, build, refresh=refresh)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return trained


def finished(
    tensors: TensorCache, settings: TrainSettings, workspace: Workspace, audit: Audit | None = None
) -> TrainedModel | None:
    """What `train` would find already there; None if it would have to train."""
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
    """Train along with the leader of the cluster of TF_CONFIG; writes nothing. Arguments as of `train`.

    Returns:
        Whether there was anything to train: in a workspace shared with the leader it may be done already.
    """
    made_of = ingredients(tensors, settings, audit)
    checkpoints = _checkpoints(made_of.digest, workspace)
    if not refresh and manifests.is_complete(TRAIN.directory(made_of.digest, workspace)):
        return False
    with runtime.suppress_stderr():
        from tasks.core.model.training import loop

    loop.follow(
        loop.TrainingJob(tensors, settings, _masks(settings, audit), checkpoints, made_of.digest), progress
    )
    return True


def _checkpoints(digest: str, workspace: Workspace) -> Path:
    return TRAIN.directory(f"{digest}.checkpoints", workspace)


def _masks(settings: TrainSettings, audit: Audit | None) -> dict[str, NDArray[np.bool_]]:
    return {split: duplicate_table.read_mask(path) for split, path in _leaks(settings, audit).items()}


def _leaks(settings: TrainSettings, audit: Audit | None) -> dict[str, Path]:
    """The files that say which images to leave out, by split."""
    if not settings.drop_leaks:
        return {}
    if audit is None:
        raise UsageError("leaks can only be dropped after an audit", expected="an audit of the tensors")
    return {split: duplicate_table.leaks_path(audit, split) for split in ("train", "val")}
