"""The train stage. It can be imported without TensorFlow; only a training loads it.

A recipe is trained step by step from the tensors (`loop`) or from maps of a backbone (`transfer.finetune`),
or it is a linear classifier of features (`transfer.probe`).
"""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core import recipes
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.audit import duplicate_table
from tasks.core.data.tensors.folds import train_members
from tasks.core.errors import UsageError
from tasks.core.model.backbones import catalog, licences
from tasks.core.model.devices import runtime
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Audit, Features, RawDataset, TensorCache, TrainedModel
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import TRAIN
from tasks.core.storage import hashing, manifests
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.train")

HELD_OUT_FOLDS = 5  # one of so many parts of train is held out when recipes are compared
TRANSFER = "tasks.core.model.transfer"
PROBE = tuple(f"{TRANSFER}.{name}" for name in ("probe", "head", "published"))
FINETUNE = (*PROBE, f"{TRANSFER}.finetune", "tasks.core.model.features.maps")
TRANSFER_LIBRARIES = ("scikit-learn", "scipy")


def ingredients(
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit | None = None,
    features: Features | None = None,
    *,
    held_out: bool = False,
) -> Ingredients:
    """Everything that decides a training.

    Args:
        tensors: Tensor cache with the images.
        settings: How to train.
        audit: Needed if `settings.drop_leaks`. Only its lists of leaks are ingredients.
        features: Needed by recipes that start from a backbone.
        held_out: See `train`.

    Raises:
        UsageError: Leaks are to be dropped and there is no audit, or features are needed and missing.
    """
    leaks = _leaks(settings, audit)
    inputs = {"tensors": tensors.digest}
    inputs |= {f"{split} leaks": hashing.sha256_file(path) for split, path in leaks.items()}
    parameters: dict[str, Any] = {"drop_leaks": settings.drop_leaks}
    parameters |= {"held_out": True} if held_out else {}
    if not recipes.is_pretrained(settings.recipe):
        return TRAIN.ingredients(inputs, parameters | _schedule(tensors, settings, leaks))
    inputs |= {"features": _needed(features, settings).digest}
    if settings.recipe is RecipeName.probe:
        parameters |= {"name": settings.recipe.value}
        return TRAIN.ingredients(inputs, parameters, PROBE, TRANSFER_LIBRARIES)
    parameters |= _schedule(tensors, settings, leaks)
    return TRAIN.ingredients(inputs, parameters, FINETUNE, TRANSFER_LIBRARIES)


def train(
    tensors: TensorCache,
    settings: TrainSettings,
    workspace: Workspace,
    *,
    audit: Audit | None = None,
    features: Features | None = None,
    raw: RawDataset | None = None,
    held_out: bool = False,
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
        features: Features of the images; needed by recipes that start from a backbone.
        raw: The source, from which the recipe `finetune` decodes the images at the backbone's size.
        held_out: Whether to leave out a fifth of the train images, and to write what the model predicts for
            them and for the val images as `held_out.probabilities.npy`; not for the recipe `probe`.
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
    training_ingredients = ingredients(tensors, settings, audit, features, held_out=held_out)
    checkpoints = _checkpoints(training_ingredients.digest, workspace)
    if refresh:
        shutil.rmtree(checkpoints, ignore_errors=True)

    def build(staging: Path) -> Mapping[str, Any]:
        if settings.recipe is RecipeName.probe:
            return _train_probe(tensors, settings, audit, features, staging) | _made_on()
        with runtime.quiet_tensorflow():
            from tasks.core.model.training import loop

        masks, digest = _masks(settings, audit), training_ingredients.digest
        job = loop.TrainingJob(tensors, settings, masks, checkpoints, digest, _held_out(tensors, held_out))
        facts = loop.train(job, _training_inputs(job, features, raw, workspace, progress), staging, progress)
        if features is not None and settings.recipe is RecipeName.finetune and not held_out:
            licences.write_notice(catalog.find(features.backbone), staging)
            _discard_maps(features, tensors, workspace)
        return facts | _made_on()

    trained = TRAIN.output(training_ingredients, workspace, build, refresh=refresh)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return trained


def finished(
    tensors: TensorCache,
    settings: TrainSettings,
    workspace: Workspace,
    audit: Audit | None = None,
    features: Features | None = None,
) -> TrainedModel | None:
    """The existing output of `train` for the same arguments; None if it would have to train."""
    return TRAIN.finished(ingredients(tensors, settings, audit, features), workspace)


def train_as_worker(
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

    Raises:
        UsageError: The recipe starts from a backbone, which one process trains.
    """
    check_cluster_recipe(settings)
    digest = ingredients(tensors, settings, audit).digest
    checkpoints = _checkpoints(digest, workspace)
    if not refresh and manifests.is_complete(TRAIN.directory(digest, workspace)):
        return False
    with runtime.quiet_tensorflow():
        from tasks.core.model.training import loop

    job = loop.TrainingJob(tensors, settings, _masks(settings, audit), checkpoints, digest)
    loop.fit(job, loop.from_tensors(job), progress)
    return True


def check_cluster_recipe(settings: TrainSettings) -> None:
    """Refuse a recipe that a cluster of TF_CONFIG cannot train.

    Raises:
        UsageError: The recipe starts from a backbone, or may do so.
    """
    if settings.recipe is RecipeName.auto or recipes.is_pretrained(settings.recipe):
        raise UsageError(
            f"the recipe {settings.recipe} is not trained by a cluster",
            expected="a recipe that trains from scratch, such as --recipe fast",
            found=f"--recipe {settings.recipe} and TF_CONFIG",
            todo="choose --recipe, or unset TF_CONFIG",
        )


def _train_probe(
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit | None,
    features: Features | None,
    staging: Path,
) -> dict[str, Any]:
    with runtime.quiet_tensorflow():
        from tasks.core.model.transfer import probe

    kept = {split: np.flatnonzero(~mask) for split, mask in _masks(settings, audit).items()}
    return probe.train(_needed(features, settings), tensors, kept, staging)


def _made_on() -> dict[str, Any]:
    """What decides the bits of a training besides its ingredients: another machine may have others."""
    with runtime.quiet_tensorflow():
        from tasks.core.model.devices import device

    return {"threads": runtime.threads_here(), "processor": device.kind()}


def _training_inputs(
    job: Any, features: Features | None, raw: RawDataset | None, workspace: Workspace, progress: Progress
) -> Any:
    """What the loop trains: a network and its images, or the upper part of a backbone and its maps."""
    with runtime.quiet_tensorflow():
        from tasks.core.model.training import loop

    if job.settings.recipe is not RecipeName.finetune:
        return loop.from_tensors(job)
    with runtime.quiet_tensorflow():
        from tasks.core.model.transfer import finetune

    needed = _needed(features, job.settings)
    return loop.TrainingInputs(**finetune.from_maps(job, needed, raw, workspace, progress))


def _discard_maps(features: Features | None, tensors: TensorCache, workspace: Workspace) -> None:
    from tasks.core.model.features import maps

    if features is not None:
        maps.discard(features, tensors, workspace)


def _held_out(tensors: TensorCache, held_out: bool) -> NDArray[np.bool_] | None:
    return train_members(tensors, 0, HELD_OUT_FOLDS) if held_out else None


def _needed(features: Features | None, settings: TrainSettings) -> Features:
    if features is None:
        raise UsageError(f"the recipe {settings.recipe} needs features", expected="the output of embed")
    return features


def _schedule(tensors: TensorCache, settings: TrainSettings, leaks: Mapping[str, Path]) -> dict[str, Any]:
    dropped = int(duplicate_table.read_mask(leaks["train"]).sum()) if leaks else 0
    recipe = recipes.resolve(settings, max(1, tensors.train - dropped))
    return recipe.parameters() | {"seed": settings.seed}


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
