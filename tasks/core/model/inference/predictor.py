"""Loads a published model as a compiled function of batches of one fixed size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import Precision
from tasks.core.data.loader import mmap
from tasks.core.model.devices import runtime

Floats = NDArray[np.float32]
LOGITS = "logits"  # the layer whose input is the embedding
MAX_BATCH_VALUES = 256 * 32 * 32 * 3  # uint8 values in a batch; bounds the memory of activations
MAX_BATCH_IMAGES = 1024  # a batch is filled up, so that larger ones of tiny images would be mostly padding


@dataclass(frozen=True)
class Predictor:
    """A compiled model.

    Args:
        size: Number of images in a batch.
        forward: Maps uint8 (size, H, W, C) to probabilities, float32 (size, classes), and embeddings,
            float32 (size, D), which are the input of the last layer.
    """

    size: int
    forward: Callable[[NDArray[np.uint8]], tuple[Floats, Floats]]

    def batches(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Slices of uint8 (N, H, W, C) with at most `size` images each."""
        for start in range(0, len(images), self.size):
            yield mmap.read_rows(images, np.arange(start, min(start + self.size, len(images))))

    def probabilities(self, images: NDArray[np.uint8]) -> Floats:
        """Probabilities of any number of images, uint8 (N, H, W, C): float32 (N, classes)."""
        return self.score(images)[0]

    def score(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Probabilities and embeddings of any number of images, uint8 (N, H, W, C).

        Returns:
            float32 (N, classes) and float32 (N, D).
        """
        outputs = []
        for start in range(0, len(images), self.size):
            padded = np.zeros((self.size, *images.shape[1:]), np.uint8)
            count = len(images[start : start + self.size])
            padded[:count] = images[start : start + self.size]
            mmap.release_pages(images)
            outputs.append([values[:count] for values in self.forward(padded)])
        probabilities, embeddings = zip(*outputs, strict=True)
        return np.concatenate(probabilities), np.concatenate(embeddings)


def batch_size(shape: tuple[int, ...]) -> int:
    """Number of images in a batch, for images of this shape (H, W, C)."""
    return max(1, min(MAX_BATCH_IMAGES, MAX_BATCH_VALUES // int(np.prod(shape))))


def load(path: Path, precision: Precision = Precision.float32) -> Predictor:
    """Load a published `model.keras`.

    It is compiled once, for one input shape, so that its memory does not grow. The last model is kept: the
    stages of a run ask for the same one four times, 0.2 to 0.3 CPU-seconds each.

    Args:
        path: The file.
        precision: float32, or bfloat16 for a model whose certificate allows it
            (`devices.bfloat16_certificate`).
    """
    stat = path.stat()
    return _compiled(path, (stat.st_ino, stat.st_size, stat.st_mtime_ns), precision)


@lru_cache(1)
def _compiled(path: Path, state: tuple[int, ...], precision: Precision) -> Predictor:
    network = _network(path, state)
    import tensorflow as tf

    from tasks.core.model.architectures import bfloat16_model

    if precision is Precision.bfloat16:
        network = bfloat16_model.in_bfloat16(network)
    shape = network.input_shape[1:]
    size = batch_size(shape)
    compiled = tf.function(
        lambda batch: network(batch, training=False),
        input_signature=[tf.TensorSpec((size, *shape), tf.uint8)],
        autograph=False,
    )
    compiled.get_concrete_function()  # traced by a call, TensorFlow warns of the fifth model in a process

    def forward(batch: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        probabilities, embeddings = compiled(tf.constant(batch))
        return probabilities.numpy(), embeddings.numpy().astype(np.float32, copy=False)

    return Predictor(size, forward)


@lru_cache(1)
def _network(path: Path, state: tuple[int, ...]) -> Any:
    """The model with its embedding as a second output; a file in another state is another model."""
    with runtime.quiet_tensorflow():
        import keras

    model = keras.models.load_model(path)
    return keras.Model(model.inputs, [model.outputs[0], _embedding(model)])


def _embedding(model: Any) -> Any:
    """The input of the logits layer; with a mirrored view in the model, that of the original view."""
    return model.get_layer(LOGITS).input
