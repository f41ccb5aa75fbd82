"""The networks to train: raw uint8 images in, logits out (`publication` makes plain Keras of them)."""

import keras
import numpy as np
from numpy.typing import NDArray

from tasks.core.model.architectures import textbook, whitened
from tasks.core.model.architectures.layers import initializers
from tasks.core.recipes import Recipe


def build(
    recipe: Recipe, images: NDArray[np.uint8], classes: int, seed: int, policy: str = "float32"
) -> keras.Model:
    """The network to train.

    Args:
        images: uint8 (N, H, W, C), training images; the whitened stem's weights follow from them.
        classes: 2..1000.
        seed: Of the initial weights.
        policy: Keras' name of the precision to calculate in; weights are float32 in any.

    Returns:
        From uint8 (N, H, W, C) to logits (N, classes).
    """
    keras.utils.set_random_seed(seed)
    draw = initializers(seed)
    shape = tuple(int(side) for side in images.shape[1:])
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        if recipe.architecture == "textbook":
            return textbook.build_textbook(recipe, shape, classes, seed, draw)
        return whitened.build_whitened(recipe, images, shape, classes, draw)
    finally:
        keras.config.set_dtype_policy(before)
