"""Builds the networks to train; `export.inference_model` turns them into plain Keras models."""

import sys

import keras
import numpy as np
from numpy.typing import NDArray

from tasks.core.data.loader.batches import batch_size
from tasks.core.model.architectures import textbook, whitened
from tasks.core.model.architectures.layers import initializers
from tasks.core.recipes import Recipe


def build(
    recipe: Recipe, images: NDArray[np.uint8], classes: int, seed: int, policy: str = "float32"
) -> keras.Model:
    """Build the recipe's network with initial weights.

    Args:
        recipe: Chooses the architecture and its size.
        images: Training images, uint8 (N, H, W, C); the whitened stem's weights are calculated from them.
        classes: Number of classes, 2..1000.
        seed: Seed of the initial weights.
        policy: Keras' name of the precision to calculate in; weights are always float32.

    Returns:
        Model from uint8 (N, H, W, C) to logits, float32 (N, classes).
    """
    keras.utils.set_random_seed(seed)
    next_initializer = initializers(seed)
    shape = tuple(int(side) for side in images.shape[1:])
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        if recipe.architecture == "textbook":
            return textbook.build_textbook(recipe, shape, classes, seed, next_initializer)
        return whitened.build_whitened(recipe, images, shape, classes, next_initializer)
    finally:
        keras.config.set_dtype_policy(previous_policy)


def largest_map(recipe: Recipe, images: NDArray[np.uint8]) -> int:
    """Bytes of the largest map in a batch, at most; `sys.maxsize` if this is not known of the architecture.

    Args:
        recipe: What is trained.
        images: Training images, uint8 (N, H, W, C).
    """
    if recipe.architecture != "whitened":
        return sys.maxsize
    batch = max(recipe.batch_size, 2 * batch_size(images))  # 2: predictions after the training
    return 4 * batch * whitened.largest_map(recipe, images.shape[1:])
