"""The one way to load a published model: as a function of batches of one size."""

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
VALUES = 256 * 32 * 32 * 3  # pixels' values in a batch; bounds the memory of activations for any size


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

    def batches(self, images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Slices of uint8 (N, H, W, C), each of which is one batch."""
        for start in range(0, len(images), self.size):
            yield mmap.read_rows(images, np.arange(start, min(start + self.size, len(images))))

    def probabilities(self, images: NDArray[np.uint8]) -> Floats:
        """Probabilities of any number of images, uint8 (N, H, W, C): float32 (N, classes)."""
        return self.score(images)[0]

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


def batch_size(shape: tuple[int, ...]) -> int:
    """Images of a batch, for images of this shape."""
    return max(1, VALUES // int(np.prod(shape)))


def load(path: Path) -> Predictor:
    """Load a published `model.keras`. One compiled function of one shape: its memory does not grow."""
    with runtime.suppress_stderr():
        import keras
        import tensorflow as tf

    model = keras.models.load_model(path)
    both = keras.Model(model.inputs, [model.outputs[0], _embedding(model)])
    size = batch_size(model.input_shape[1:])
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
