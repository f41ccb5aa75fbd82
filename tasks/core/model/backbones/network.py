"""Builds a backbone as a Keras model and checks that it is what its declaration says."""

from importlib import import_module

import keras

from tasks.core.errors import DataError
from tasks.core.model.backbones import weights
from tasks.core.model.backbones.declaration import Backbone


def build(backbone: Backbone, image_size: int, policy: str = "float32") -> keras.Model:
    """Build a backbone with its pretrained weights.

    Args:
        backbone: Its declaration.
        image_size: Height and width of the images in pixels.
        policy: Keras' name of the precision to calculate in; weights and features are always float32.

    Returns:
        Model of Keras' own layers, from raw uint8 images (N, image_size, image_size, 3) to features, float32
        (N, features).

    Raises:
        DataError: Its weights are missing, or the network is not what the declaration says.
    """
    path = weights.locate(backbone)
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = import_module(backbone.module).build(backbone, path, image_size)
    finally:
        keras.config.set_dtype_policy(previous_policy)
    _check(model, backbone)
    return model


def _check(model: keras.Model, backbone: Backbone) -> None:
    foreign = sorted({type(layer).__name__ for layer in model.layers if not _is_keras(layer)})
    if model.output_shape != (None, backbone.features) or foreign:
        raise DataError(
            f"{backbone.name} cannot be used as a backbone",
            expected=f"{backbone.features} features of an image, from layers of Keras alone",
            found=f"an output of {model.output_shape}" + (f", {', '.join(foreign)}" if foreign else ""),
        )


def _is_keras(layer: keras.layers.Layer) -> bool:
    return type(layer).__module__.startswith("keras.")
