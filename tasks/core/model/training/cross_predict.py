"""Out-of-sample probabilities of the train images: each is predicted by a model that was not trained on it.

This module can be imported without TensorFlow; only a training loads it.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import TrainSettings
from tasks.core.data.tensors import folds as folds_module
from tasks.core.data.tensors.folds import train_members
from tasks.core.errors import UsageError
from tasks.core.model.devices import runtime, tf_config
from tasks.core.model.inference import predict_splits
from tasks.core.model.training import train
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Features, Predictions, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import CROSS_PREDICT
from tasks.core.workspace import Workspace

MIN_FOLDS, MAX_FOLDS = 2, 20


def check_folds(folds: int | None) -> None:
    """Check the number of folds.

    Args:
        folds: Number of folds; None for no cross-prediction.

    Raises:
        UsageError: The number is not in 2..20, or this process belongs to a cluster (TF_CONFIG).
    """
    if folds is not None and not MIN_FOLDS <= folds <= MAX_FOLDS:
        raise UsageError(f"folds must lie in {MIN_FOLDS}..{MAX_FOLDS}", found=str(folds))
    if folds is not None and tf_config.this_cluster():
        raise UsageError("a cluster trains one model, not one for each fold", todo="leave out --folds")


def ingredients(
    tensors: TensorCache, settings: TrainSettings, folds: int, features: Features | None = None
) -> Ingredients:
    """Everything that decides a cross-prediction: the ingredients of a training, and the number of folds.

    With features, those of a linear classifier, which has its own number of folds.
    """
    if features is not None:
        inputs = {"tensors": tensors.digest, "features": features.digest}
        return CROSS_PREDICT.ingredients(inputs, {}, train.PROBE, train.TRANSFER_LIBRARIES)
    trained = train.ingredients(tensors, _of_all(settings))
    return CROSS_PREDICT.ingredients(trained.inputs, {**trained.parameters, "folds": folds})


def cross_predict(
    tensors: TensorCache,
    settings: TrainSettings,
    folds: int,
    workspace: Workspace,
    features: Features | None = None,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Predictions:
    """Train one model per fold and predict the fold's images with it.

    Writes `train.probabilities.npy`, float32 (N, classes), in the row order of the train images. Each fold's
    training is a stage with its own output, so that after a crash only the unfinished folds are trained.

    Args:
        tensors: Tensor cache with the train images.
        settings: How to train each model.
        folds: Number of folds, 2..20. The cost is that of `folds` trainings on (folds - 1) / folds of the
            images.
        workspace: Where the output is written.
        features: Features of the images. With them a linear classifier is cross-validated instead, which
            takes seconds.
        refresh: Whether to predict again if the output exists.
        progress: Called with folds done.

    Returns:
        Handle of the probabilities.

    Raises:
        UsageError: See `check_folds`.
    """
    check_folds(folds)

    def of_folds() -> NDArray[np.float32]:
        probabilities = np.zeros((tensors.train, len(tensors.classes)), np.float32)
        for number in range(folds):
            progress(number, folds, f"fold {number + 1} of {folds}")
            rows = train_members(tensors, number, folds)
            if rows.any():  # there may be fewer groups than folds
                probabilities[rows] = _predict(tensors, settings, number, folds, workspace)
        return probabilities

    def build(staging: Path) -> Mapping[str, Any]:
        probabilities = of_folds() if features is None else _of_features(features, tensors)
        np.save(Predictions.path_in(staging, "train"), probabilities)
        return {"model_sha256": "", "tensors": tensors.digest}

    return CROSS_PREDICT.output(
        ingredients(tensors, settings, folds, features), workspace, build, refresh=refresh
    )


def _of_all(settings: TrainSettings) -> TrainSettings:
    """The settings with which every train image is in a fold: its duplicates in test decide nothing here."""
    return replace(settings, drop_leaks=False)


def _of_features(features: Features, tensors: TensorCache) -> NDArray[np.float32]:
    """Probabilities of all train images by folds of a linear classifier, float32 (N, classes)."""
    with runtime.quiet_tensorflow():
        from tasks.core.model.transfer import probe

    everything = np.ones(tensors.train, bool)
    return probe.held_out_probabilities(features, tensors, everything)[: tensors.train]


def _predict(
    tensors: TensorCache, settings: TrainSettings, number: int, folds: int, workspace: Workspace
) -> Any:
    """Probabilities of one fold's images, float32 (n, classes); the fold's tensors are deleted afterwards."""
    fold = folds_module.fold(tensors, number, folds, workspace)
    trained = train.train(fold, _of_all(settings), workspace)
    predictions = predict_splits.predict_splits(trained, fold, workspace)
    probabilities = np.load(predictions.path_of("test"), allow_pickle=False)
    shutil.rmtree(fold.directory)
    return probabilities
