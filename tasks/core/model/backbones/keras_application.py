"""Backbones of `keras.applications`, with the weights that Keras' authors publish."""

from pathlib import Path

import keras

from tasks.core.errors import FormatError
from tasks.core.model.backbones import plain
from tasks.core.model.backbones.declaration import Backbone


def build(backbone: Backbone, weights: Path, image_size: int) -> keras.Model:
    """Build a network of `keras.applications` without its classifier.

    Args:
        backbone: Its declaration; `constructor` is the network's name there.
        weights: The published file of the weights without the classifier.
        image_size: Height and width of the images in pixels.

    Returns:
        Model from raw uint8 images (N, image_size, image_size, 3) to features, float32 (N, D).

    Raises:
        FormatError: The file has the weights of another network.
    """
    model = original(backbone.constructor, image_size)
    try:
        model.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        raise FormatError(
            f"{weights.name} does not fit {backbone.name}",
            expected=f"weights of keras.applications.{backbone.constructor} without its last layer",
            found=str(error).splitlines()[0],
        ) from error
    return plain.rewritten(model, image_size)


def original(constructor: str, image_size: int) -> keras.Model:
    """The network as Keras builds it, with random weights; it has its own preprocessing of 0..255."""
    return getattr(keras.applications, constructor)(
        include_top=False,
        weights=None,
        input_shape=(image_size, image_size, 3),
        pooling="avg",
        include_preprocessing=True,
    )
