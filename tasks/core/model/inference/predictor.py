"""A published model as a function of batches of one size: probabilities, and how it sees the images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.loader import mmap
from tasks.core.model.devices import runtime

Floats = NDArray[np.float32]
LOGITS = "logits"  # the layer whose input is the embedding
VALUES_PER_BATCH = (
    256 * 32 * 32 * 3
)  # values a batch; bounds the memory of the activations for any image size


@dataclass(frozen=True)
class Predictor:
    """A compiled model.

    Args:
        size: Images of a batch.
        forward: uint8 (size, H, W, C) to probabilities, float32 (size, classes), and embeddings,
            float32 (size, D): what comes into the last layer.
    """

    size: int
    forward: Callable[[NDArray[np.uint8]], tuple[Floats, Floats]]

    def score(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Probabilities and embeddings of any number of images, uint8 (N, H, W, C)."""
        parts = []
        for start in range(0, len(images), self.size):
            some = np.zeros((self.size, *images.shape[1:]), np.uint8)
            count = len(images[start : start + self.size])
            some[:count] = images[start : start + self.size]
            parts.append([values[:count] for values in self.forward(some)])
        probabilities, embeddings = zip(*parts, strict=True)
        return np.concatenate(probabilities), np.concatenate(embeddings)


def images_per_batch(shape: tuple[int, ...]) -> int:
    """Images of a batch, for images of this shape."""
    return max(1, VALUES_PER_BATCH // int(np.prod(shape)))


def load_predictor(path: Path) -> Predictor:
    """Load a published `model.keras`. One compiled function of one shape: its memory does not grow."""
    with runtime.suppress_stderr():
        import keras
        import tensorflow as tf

    model = keras.models.load_model(path)
    both = keras.Model(model.inputs, [model.outputs[0], _embedding(model)])
    size = images_per_batch(model.input_shape[1:])
    images = tf.TensorSpec((size, *model.input_shape[1:]), tf.uint8)
    compiled = tf.function(
        lambda batch: both(batch, training=False), input_signature=[images], autograph=False
    )

    def forward(batch: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        probabilities, embeddings = compiled(tf.constant(batch))
        return probabilities.numpy(), embeddings.numpy()

    return Predictor(size, forward)


def _embedding(model: Any) -> Any:
    """What comes into the layer of the logits; where the image is also seen mirrored, of the upright view."""
    return model.get_layer(LOGITS).input


MAX_BATCH_VALUES = (
    128 * 32 * 32 * 3
)  # values a batch; bounds the memory of the activations for any image size


def batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Slices of uint8 (N, H, W, C) that are small enough to predict at once."""
    size = rows_per_batch(images)
    for start in range(0, len(images), size):
        yield mmap.read_rows(images, np.arange(start, min(start + size, len(images))))


def replica_rounds(images: NDArray[np.uint8], replicas: int) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Row numbers that so many replicas predict at once, a batch each, and how many of them are new.

    The last round repeats the last row, so that all replicas have equally many.
    """
    size = rows_per_batch(images) * replicas
    for start in range(0, len(images), size):
        count = min(size, len(images) - start)
        padded = -(-count // replicas) * replicas
        yield np.minimum(np.arange(start, start + padded), len(images) - 1), count


def rows_per_batch(images: NDArray[np.uint8]) -> int:
    """Images that are few enough to predict at once."""
    return max(1, MAX_BATCH_VALUES // int(np.prod(images.shape[1:])))


def load_function(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A published `model.keras` as a function: uint8 (N, H, W, C) to probabilities, float32 (N, classes)."""
    with runtime.suppress_stderr():
        import keras
        import tensorflow as tf

    model = keras.models.load_model(path)
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    forward = tf.function(
        lambda batch: model(batch, training=False), input_signature=[images], autograph=False
    )
    return lambda batch: np.asarray(forward(tf.constant(batch)))
