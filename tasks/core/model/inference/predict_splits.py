"""The predict stage: probabilities of the val and test images. It can be imported without TensorFlow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.data.tensors.cache import open_split
from tasks.core.model.inference import predictor
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Model, Predictions, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import PREDICT
from tasks.core.workspace import Workspace

SPLITS = ("val", "test")


def ingredients(model: Model, tensors: TensorCache) -> Ingredients:
    """Everything that decides a prediction: the model's file and the tensors."""
    return PREDICT.ingredients({"model": model.model_sha256, "tensors": tensors.digest}, {})


def predict_splits(
    model: Model,
    tensors: TensorCache,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Predictions:
    """Write `{val,test}.probabilities.npy`, float32 (N, classes), in the row order of the tensors.

    Args:
        model: Its `model.keras` takes uint8 (N, H, W, C) and returns probabilities.
        tensors: Tensor cache with the images.
        workspace: Where the output is written.
        refresh: Whether to predict again if the output exists.
        progress: Called with images done.

    Returns:
        Handle of the probabilities.
    """

    def build(staging: Path) -> Mapping[str, Any]:
        total = tensors.val + tensors.test
        done = 0
        loaded = predictor.load(model.directory / "model.keras")
        for split in SPLITS:
            probabilities = []
            for images in loaded.batches(open_split(tensors, split).images):
                probabilities.append(loaded.probabilities(images))
                done += len(images)
                progress(done, total, f"{done:,} of {total:,} images")
            np.save(staging / f"{split}.probabilities.npy", np.concatenate(probabilities))
        return {"model_sha256": model.model_sha256, "tensors": tensors.digest}

    return PREDICT.output(ingredients(model, tensors), workspace, build, refresh=refresh)
