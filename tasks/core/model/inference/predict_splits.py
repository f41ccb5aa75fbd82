"""The predict stage: probabilities of the val and test images. It can be imported without TensorFlow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.data import threads
from tasks.core.data.loader import originals
from tasks.core.model.inference import class_order, frozen, predictor
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Model, Predictions, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import PREDICT
from tasks.core.workspace import Workspace

SPLITS = ("val", "test")
DECODED_AHEAD = 2  # batches that wait for the model


def ingredients(model: Model, tensors: TensorCache, raw: RawDataset | None = None) -> Ingredients:
    """Everything that decides a prediction: the model's file and the tensors.

    For a model that takes images of another size than the tensors', also what decodes the source.
    """
    inputs = {"model": model.model_sha256, "tensors": tensors.digest}
    modules, libraries = originals.ingredients(model, tensors, raw)
    parameters = class_order.parameters(model, tensors)
    return PREDICT.ingredients(inputs, parameters, (*modules, *frozen.modules(model, raw)), libraries)


def predict_splits(
    model: Model,
    tensors: TensorCache,
    workspace: Workspace,
    raw: RawDataset | None = None,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Predictions:
    """Write `{val,test}.probabilities.npy`, float32 (N, classes), in the row and class order of the tensors.

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
        kind = frozen.kind_of(model, raw)
        for split in SPLITS:
            if kind is not None and raw is not None:
                scored, _ = frozen.score(model, kind, tensors, split, raw, workspace, progress)
            else:
                scored = _predicted(model, tensors, split, raw, progress)
            ordered = class_order.in_order(scored, model, tensors)
            np.save(Predictions.path_in(staging, split), ordered)
        others = class_order.other_classes(model, tensors)
        facts = {"model_sha256": model.model_sha256, "tensors": tensors.digest}
        return facts | ({"other_classes": others} if others else {})

    return PREDICT.output(ingredients(model, tensors, raw), workspace, build, refresh=refresh)


def _predicted(
    model: Model, tensors: TensorCache, split: str, raw: RawDataset | None, progress: Progress
) -> NDArray[np.float32]:
    """Probabilities of a split's images by `model.keras`, float32 (N, classes)."""
    loaded = predictor.load(model.directory / "model.keras")
    images_of_split = originals.open_images(tensors, split, model, raw)
    probabilities, done = [], 0
    for images in threads.prefetch(loaded.batches(images_of_split), DECODED_AHEAD):
        probabilities.append(loaded.probabilities(images))
        done += len(images)
        progress(done, len(images_of_split), f"{done:,} of {len(images_of_split):,} {split} images")
    return np.concatenate(probabilities)
