"""Probabilities for the images of a tensor cache: importable without TensorFlow."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core import stage
from tasks.core.data import gathering
from tasks.core.data.cache import open_split
from tasks.core.handles import Model, Predictions, TensorCache
from tasks.core.model import quiet
from tasks.core.progress import Progress, silent
from tasks.core.stage import Ingredients
from tasks.core.workspace import Workspace

SPLITS = ("val", "test")
PIXELS = 128 * 32 * 32 * 3  # values a batch; bounds the memory of the activations for any image size


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
    progress: Progress = silent,
) -> Predictions:
    """Write `{val,test}.probabilities.npy`, float32 (N, classes), in the row order of the tensors."""
    made_of = ingredients(model, tensors)
    directory = workspace.predictions / made_of.digest

    def build(staging: Path) -> Mapping[str, Any]:
        total = tensors.val + tensors.test
        done = 0
        predict = loaded(model.directory / "model.keras")
        for split in SPLITS:
            parts = []
            for images in batches(open_split(tensors, split).images):
                parts.append(predict(images))
                done += len(images)
                progress(done, total, f"{done:,} of {total:,} images")
            np.save(staging / f"{split}.probabilities.npy", np.concatenate(parts))
        return {"model_sha256": model.model_sha256, "tensors": tensors.digest}

    manifest = stage.publish(directory, made_of, build, refresh=refresh)
    return Predictions(path=workspace.relative(directory), digest=made_of.digest, **manifest["facts"])


def batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Slices of uint8 (N, H, W, C) that are small enough to predict at once."""
    size = batch_size(images)
    for start in range(0, len(images), size):
        yield gathering.gather(images, np.arange(start, min(start + size, len(images))))


def rounds(images: NDArray[np.uint8], replicas: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Row numbers that so many replicas predict at once, a batch each, and how many of them are new.

    The last round repeats the last row, so that all replicas have equally many.
    """
    size = batch_size(images) * replicas
    for start in range(0, len(images), size):
        count = min(size, len(images) - start)
        padded = -(-count // replicas) * replicas
        yield np.minimum(np.arange(start, start + padded), len(images) - 1), count


def batch_size(images: NDArray[np.uint8]) -> int:
    """Images that are few enough to predict at once."""
    return max(1, PIXELS // int(np.prod(images.shape[1:])))


def predict_images(path: Path, images: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.float32]]:
    """Probabilities of one batch after the other; nothing is held beyond a batch.

    Args:
        path: A published `model.keras`.
        images: Batches, uint8 (N, H, W, C).

    Yields:
        float32 (N, classes).
    """
    yield from map(loaded(path), images)


def loaded(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A published `model.keras` as a function: uint8 (N, H, W, C) to probabilities, float32 (N, classes)."""
    with quiet.start_up():
        import keras
        import tensorflow as tf

    model = keras.models.load_model(path)
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    forward = tf.function(
        lambda batch: model(batch, training=False), input_signature=[images], autograph=False
    )
    return lambda batch: np.asarray(forward(tf.constant(batch)))
