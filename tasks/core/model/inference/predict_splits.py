"""Probabilities for the images of a tensor cache: importable without TensorFlow."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import open_split
from tasks.core.model.inference import predictor
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage import publish
from tasks.core.stage.handles import Model, Predictions, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace

SPLITS = ("val", "test")


def ingredients(model: Model, tensors: TensorCache) -> Ingredients:
    return Ingredients(
        stage="predict",
        inputs={"model": model.model_sha256, "tensors": tensors.digest},
        parameters={},
        modules=(__name__,),
        libraries=("tensorflow", "keras", "numpy"),
    )


def predict_splits(
    model: Model,
    tensors: TensorCache,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Predictions:
    """Write `{val,test}.probabilities.npy`, float32 (N, classes), in the row order of the tensors."""
    made_of = ingredients(model, tensors)
    directory = workspace.predictions / made_of.digest

    def build(staging: Path) -> Mapping[str, Any]:
        total = tensors.val + tensors.test
        done = 0
        predict = predictor.load_function(model.directory / "model.keras")
        for split in SPLITS:
            parts = []
            for images in predictor.batches(open_split(tensors, split).images):
                parts.append(predict(images))
                done += len(images)
                progress(done, total, f"{done:,} of {total:,} images")
            np.save(staging / f"{split}.probabilities.npy", np.concatenate(parts))
        return {"model_sha256": model.model_sha256, "tensors": tensors.digest}

    manifest = publish.publish(directory, made_of, build, refresh=refresh)
    return Predictions(path=workspace.relative(directory), digest=made_of.digest, **manifest["facts"])


def predict_images(path: Path, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
    """Probabilities of one batch after the other; nothing is held beyond a batch.

    Args:
        path: A published `model.keras`.
        images: Batches, uint8 (N, H, W, C).

    Yields:
        float32 (N, classes).
    """
    yield from map(predictor.load_function(path), images)
