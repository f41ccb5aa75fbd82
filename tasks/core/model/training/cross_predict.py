"""Out-of-sample probabilities of the train images: each is predicted by a model that has not seen it.

Importable without TensorFlow, which only an actual training loads.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.config import TrainSettings
from tasks.core.data.tensors import folds as folds_module
from tasks.core.data.tensors.folds import members
from tasks.core.errors import UsageError
from tasks.core.model.devices import tf_config
from tasks.core.model.inference import predict_splits
from tasks.core.model.training import train
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Predictions, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import CROSS_PREDICT
from tasks.core.workspace import Workspace

MIN_FOLDS, MAX_FOLDS = 2, 20


def check_folds(folds: int | None) -> None:
    """Whether so many folds can be made.

    Raises:
        UsageError: They cannot; in a cluster (TF_CONFIG) none can.
    """
    if folds is not None and not MIN_FOLDS <= folds <= MAX_FOLDS:
        raise UsageError(f"folds must lie in {MIN_FOLDS}..{MAX_FOLDS}", found=str(folds))
    if folds is not None and tf_config.this_cluster():
        raise UsageError("a cluster trains one model, not one for each fold", todo="leave out --folds")


def ingredients(tensors: TensorCache, settings: TrainSettings, folds: int) -> Ingredients:
    trained = train.ingredients(tensors, settings)
    return CROSS_PREDICT.ingredients(trained.inputs, {**trained.parameters, "folds": folds})


def cross_predict(
    tensors: TensorCache,
    settings: TrainSettings,
    folds: int,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Predictions:
    """Train one model a fold; write `train.probabilities.npy`, float32 (N, classes), in the rows' order.

    Each fold's training is a finished stage of its own, so that after a crash only the others are left.

    Args:
        folds: 2..20; the cost is that of so many trainings on (folds - 1) / folds of the images.
    """
    check_folds(folds)

    def build(staging: Path) -> Mapping[str, Any]:
        whole = np.zeros((tensors.train, len(tensors.classes)), np.float32)
        for number in range(folds):
            progress(number, folds, f"fold {number + 1} of {folds}")
            held = members(tensors.train, number, folds)
            whole[held] = _predict(tensors, settings, number, folds, workspace)
        np.save(staging / "train.probabilities.npy", whole)
        return {"model_sha256": "", "tensors": tensors.digest}

    made_of = ingredients(tensors, settings, folds)
    return CROSS_PREDICT.output(made_of, workspace, build, refresh=refresh)


def _predict(
    tensors: TensorCache, settings: TrainSettings, number: int, folds: int, workspace: Workspace
) -> Any:
    """Probabilities of one fold's images; its tensors are only needed until then."""
    fold = folds_module.fold(tensors, number, folds, workspace)
    trained = train.train(fold, settings, workspace)
    predicted = predict_splits.predict_splits(trained, fold, workspace)
    probabilities = np.load(predicted.directory / "test.probabilities.npy", allow_pickle=False)
    shutil.rmtree(fold.directory)
    return probabilities
