"""The predict_set stage: a published version's probabilities of an evaluation set.

It can be imported without TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core import shares
from tasks.core.data import threads
from tasks.core.data.tensors.cache import open_split
from tasks.core.model.inference import predictor
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import ModelVersion, Predictions
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import PREDICT_SET
from tasks.core.workspace import Workspace

READ_AHEAD = 2  # batches that wait for the model


def ingredients(version: ModelVersion, images: EvaluationSet) -> Ingredients:
    """What decides the probabilities: the model's file and the images."""
    return PREDICT_SET.ingredients({"model": version.model_sha256, "tensors": images.digest}, {})


def predict_set(
    version: ModelVersion,
    images: EvaluationSet,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Predictions:
    """Write `test.probabilities.npy`, float32 (N, classes), in the row order of the images.

    Args:
        version: Its `model.keras` takes the images and has their classes.
        images: The evaluation set, made for this version.
        workspace: Where the output is written.
        refresh: Whether to predict again if the output exists.
        progress: Called with images done.
    """

    def build(staging: Path) -> Mapping[str, Any]:
        loaded = predictor.load(version.directory / "model.keras")
        pixels = open_split(images, "test").images
        probabilities, done = [], 0
        for batch in threads.prefetch(loaded.batches(pixels), READ_AHEAD):
            probabilities.append(loaded.probabilities(batch))
            done += len(batch)
            progress(done, len(pixels), f"{done:,} of {shares.counted(len(pixels), 'image')}")
        np.save(Predictions.path_in(staging, "test"), np.concatenate(probabilities))
        return {"model_sha256": version.model_sha256, "tensors": images.digest}

    return PREDICT_SET.output(ingredients(version, images), workspace, build, refresh=refresh)
