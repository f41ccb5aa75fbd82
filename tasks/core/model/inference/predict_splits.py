"""The predict stage: probabilities of the val and test images. It can be imported without TensorFlow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.data import threads
from tasks.core.data.loader.originals import open_images, takes_tensors
from tasks.core.data.readers import factory
from tasks.core.model.inference import predictor
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Model, Predictions, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import PREDICT
from tasks.core.workspace import Workspace

SPLITS = ("val", "test")
DECODED_AHEAD = 2  # batches that wait for the model
ORIGINALS = "tasks.core.data.loader.originals"


def ingredients(model: Model, tensors: TensorCache, raw: RawDataset | None = None) -> Ingredients:
    """Everything that decides a prediction: the model's file and the tensors.

    For a model that takes images of another size than the tensors', also what decodes the source.
    """
    inputs = {"model": model.model_sha256, "tensors": tensors.digest}
    if raw is None or takes_tensors(model, tensors):
        return PREDICT.ingredients(inputs, {})
    return PREDICT.ingredients(inputs, {}, (ORIGINALS, *factory.modules(raw)), factory.libraries(raw))


def predict_splits(
    model: Model,
    tensors: TensorCache,
    workspace: Workspace,
    raw: RawDataset | None = None,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Predictions:
    """Write `{val,test}.probabilities.npy`, float32 (N, classes), in the row order of the tensors.

    Args:
        model: Its `model.keras` takes uint8 (N, H, W, C) and returns probabilities.
        tensors: Tensor cache with the images.
        workspace: Where the output is written.
        raw: The source of the tensors; needed for a model that takes images of another size than theirs.
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
            images_of_split = open_images(tensors, split, model, raw)
            for images in threads.prefetch(loaded.batches(images_of_split), DECODED_AHEAD):
                probabilities.append(loaded.probabilities(images))
                done += len(images)
                progress(done, total, f"{done:,} of {total:,} images")
            np.save(staging / f"{split}.probabilities.npy", np.concatenate(probabilities))
        return {"model_sha256": model.model_sha256, "tensors": tensors.digest}

    return PREDICT.output(ingredients(model, tensors, raw), workspace, build, refresh=refresh)
