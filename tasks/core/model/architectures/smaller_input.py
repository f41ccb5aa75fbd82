"""A network for smaller images that shares the layers, and so the weights, of one for larger images.

The first part of a training sees smaller images and costs less (progressive resizing: Howard, fast.ai's entry
to DAWNBench, 2018; Tan and Le, "EfficientNetV2", 2021).
"""

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.model.architectures.layers import chain

SCALE = 0.75  # side of a smaller image, relative to the image's
MIN_SIDE = 24  # pixels; on smaller images, a network's last feature map would be a single pixel


class SmallerInput:
    """A network that scales images to `SCALE` before it applies the layers of another network.

    Args:
        model: A chain of layers that take images of any size, such as the whitened network.
    """

    def __init__(self, model: keras.Model) -> None:
        height, width, channels = model.input_shape[1:]
        self.rows, self.columns = (area_weights(side, smaller(side)) for side in (height, width))
        layers = model.layers[1:]
        self.network = chain(layers, (smaller(height), smaller(width), channels), dtype="float32")

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits, (N, classes), of uint8 (N, H, W, C)."""
        scaled = tf.einsum("nhwc,sh->nswc", tf.cast(images, tf.float32), self.rows)
        scaled = tf.einsum("nswc,tw->nstc", scaled, self.columns)
        return self.network(scaled, training=training)


def smaller(side: int) -> int:
    """Side of a smaller image, in pixels."""
    return round(side * SCALE)


def is_possible(shape: tuple[int, ...]) -> bool:
    """Whether images of a shape (H, W, C) are large enough to be scaled down."""
    return smaller(min(shape[:2])) >= MIN_SIDE


def area_weights(side: int, scaled: int) -> NDArray[np.float32]:
    """The share of each pixel in each pixel of a row that is scaled down, float32 (scaled, side).

    A new pixel is the mean over the area that it covers, as by `tf.image.resize` with the method "area".
    TensorFlow has no kernel for GPUs of that.

    Args:
        side: Pixels of the row.
        scaled: Pixels of the scaled row; at most `side`.
    """
    edges = np.arange(scaled + 1) * (side / scaled)
    pixels = np.arange(side)
    last = np.minimum(edges[1:, None], pixels + 1)
    covered = np.maximum(0, last - np.maximum(edges[:-1, None], pixels))
    return (covered * (scaled / side)).astype(np.float32)
