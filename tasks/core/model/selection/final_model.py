"""The train_on_all stage: one model trained on all images, after the recipe was scored by cross-validation.

The images of the test set are among them, so no test score is true of this model and no gate compares it with
another one. Its score is that of the cross-validation: of models of the same recipe, trained on fewer images.
A linear classifier is trained on every image. Other recipes hold back the val images, which decide when
training stops and the temperature.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.cross_validation import images as images_module
from tasks.core.data.cross_validation.resplit import resplit
from tasks.core.model.devices import runtime
from tasks.core.model.selection.out_of_fold import features_of
from tasks.core.model.training import train
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Audit, Features, FinalModel, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import TRAIN_ON_ALL
from tasks.core.workspace import Workspace

FILES = ("model.keras", "NOTICE.txt", "LICENSE-backbone.txt")  # the last two only of a backbone
TRAINED_ON = {"trained_on": "all"}  # fact of the manifest


def ingredients(
    tensors: TensorCache, settings: TrainSettings, audit: Audit, features: Features | None
) -> Ingredients:
    """Everything that decides the model; the audit's duplicates decide the inner folds of a classifier."""
    trained = train.ingredients(tensors, replace(settings, drop_leaks=False), None, features)
    return TRAIN_ON_ALL.ingredients({"training": trained.digest, "audit": audit.digest}, {})


def train_on_all(
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit,
    features: Features | None,
    raw: RawDataset,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> FinalModel:
    """Train one model on all images.

    Args:
        tensors: The images.
        settings: How to train.
        audit: Lists the duplicates.
        features: Features of the images; needed by recipes that start from a backbone.
        raw: The source of the images.
        workspace: Where the model is written.
        refresh: Whether to train again if the model exists.
        progress: Called with epochs done.
    """

    def build(staging: Path) -> Mapping[str, Any]:
        if settings.recipe is RecipeName.probe and features is not None:
            facts = _probe(tensors, audit, features, staging)
        else:
            facts = _trained(tensors, settings, features, raw, workspace, staging, progress)
        return {
            **facts,
            **TRAINED_ON,
            "recipe": str(settings.recipe),
            "fit": tensors.fit,
            **tensors.grey_facts,
        }

    return TRAIN_ON_ALL.output(
        ingredients(tensors, settings, audit, features), workspace, build, refresh=refresh
    )


def _probe(tensors: TensorCache, audit: Audit, features: Features, staging: Path) -> dict[str, Any]:
    with runtime.quiet_tensorflow():
        from tasks.core.model.transfer import head as head_module
        from tasks.core.model.transfer import probe

    images = images_module.read(tensors, audit)
    groups = images.groups if images.dependent else None
    head = head_module.fit(probe.all_features(features), images.labels, len(tensors.classes), groups)
    facts = probe.write_model(head, images.labels, groups, features, tensors, staging)
    (staging / "weights.npz").unlink()  # model.keras has them
    return facts | {"trained": len(images), "held_back": 0}


def _trained(
    tensors: TensorCache,
    settings: TrainSettings,
    features: Features | None,
    raw: RawDataset,
    workspace: Workspace,
    staging: Path,
    progress: Progress,
) -> dict[str, Any]:
    count = tensors.train + tensors.val + tensors.test
    val = np.arange(tensors.train, tensors.train + tensors.val)
    others = np.setdiff1d(np.arange(count), val)
    # There is no test image left; the split needs some, and no training reads it.
    everything = resplit(tensors, {"train": others, "val": val, "test": val}, workspace)
    own = None
    if settings.recipe is RecipeName.finetune:
        own = features_of(everything, features, raw, workspace)
    plain = replace(settings, drop_leaks=False)
    trained = train.train(everything, plain, workspace, features=own, raw=raw, progress=progress)
    for name in FILES:
        if (trained.directory / name).exists():
            shutil.copyfile(trained.directory / name, staging / name)
    facts = dict(trained.manifest["facts"])
    for handle in (everything, own):
        if handle is not None:
            shutil.rmtree(handle.directory)
    names = ("model_sha256", "shape", "temperature", "calibration", "backbone")
    kept = {name: facts[name] for name in names if name in facts}
    return kept | {"trained": len(others), "held_back": len(val)}
