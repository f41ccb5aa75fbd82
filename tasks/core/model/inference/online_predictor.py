"""Loads a published model for single images and small batches, as requests bring them.

`predictor` has batches of one size, padded to it: 12,288 images of 8x8 pixels. One image would wait for all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import Precision
from tasks.core.model.devices import runtime
from tasks.core.model.inference.predictor import LOGITS

Floats = NDArray[np.float32]
MAX_BATCH = 32  # images in a call of the model; bounds the memory of activations


@dataclass(frozen=True)
class OnlinePredictor:
    """A compiled model for any number of images.

    Args:
        compiled: Maps uint8 (n, H, W, C) to probabilities (n, classes) and embeddings (n, D).
        embedding_size: D.
    """

    compiled: Any
    embedding_size: int

    def score(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Probabilities and embeddings.

        Args:
            images: uint8 (N, H, W, C), N at least 1.

        Returns:
            float32 (N, classes) and float32 (N, D).
        """
        outputs = [
            self._call(images[start : start + MAX_BATCH]) for start in range(0, len(images), MAX_BATCH)
        ]
        probabilities, embeddings = zip(*outputs, strict=True)
        return np.concatenate(probabilities), np.concatenate(embeddings)

    def _call(self, images: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        import tensorflow as tf

        probabilities, embeddings = self.compiled(tf.constant(images))
        return probabilities.numpy(), embeddings.numpy().astype(np.float32, copy=False)


def load(path: Path, precision: Precision = Precision.float32) -> OnlinePredictor:
    """Load a published `model.keras`, and run it once, so that the first request does not wait.

    Args:
        path: The file.
        precision: As for `predictor.load`.
    """
    with runtime.quiet_tensorflow():
        import keras
        import tensorflow as tf

        from tasks.core.model.architectures import bfloat16_model

    model = keras.models.load_model(path)
    with_embedding = keras.Model(model.inputs, [model.outputs[0], model.get_layer(LOGITS).input])
    if precision is Precision.bfloat16:
        with_embedding = bfloat16_model.in_bfloat16(with_embedding)
    images = tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)
    compiled = tf.function(
        lambda batch: with_embedding(batch, training=False), input_signature=[images], autograph=False
    )
    loaded = OnlinePredictor(compiled, int(with_embedding.output_shape[1][-1]))
    for count in (1, MAX_BATCH):
        loaded.score(np.zeros((count, *model.input_shape[1:]), np.uint8))
    return loaded
