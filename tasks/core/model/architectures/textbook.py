"""The textbook CNN, as in the TensorFlow tutorial "Convolutional Neural Network (CNN)"."""

import keras

from tasks.core.model.architectures.layers import InitializerFactory, chain
from tasks.core.recipes import Recipe

WIDTHS = (32, 64, 64)  # channels of the convolutions


def build_textbook(
    recipe: Recipe, shape: tuple[int, ...], classes: int, seed: int, next_initializer: InitializerFactory
) -> keras.Model:
    """Build the textbook CNN, with random rotations, flips and zooms if the recipe augments.

    Args:
        recipe: Its `augment` is "rotate" or "none".
        shape: Height, width and channels of the images.
        classes: Number of classes.
        seed: Seed of the augmentation.
        next_initializer: Gives each layer's kernel initializer.

    Returns:
        Model from uint8 (N, H, W, C) to logits, float32 (N, classes).
    """
    # Three valid 3x3 convolutions and two pools need 18 pixels; smaller images get same padding.
    padding = "valid" if min(shape[:2]) >= 18 else "same"
    layers: list[keras.layers.Layer] = [keras.layers.Rescaling(1 / 255, name="rescale")]
    if recipe.augment == "rotate":
        layers += [
            keras.layers.RandomFlip("horizontal", seed=seed, name="augment_flip"),
            keras.layers.RandomRotation(0.1, seed=seed + 1, name="augment_rotate"),
            keras.layers.RandomZoom(0.1, seed=seed + 2, name="augment_zoom"),
        ]
    for number, width in enumerate(WIDTHS, start=1):
        layers.append(
            keras.layers.Conv2D(
                width,
                3,
                padding=padding,
                activation="relu",
                kernel_initializer=next_initializer(),
                name=f"convolution_{number}",
            )
        )
        if number < len(WIDTHS):
            layers.append(keras.layers.MaxPooling2D(name=f"pool_{number}"))
    layers += [
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(64, activation="relu", kernel_initializer=next_initializer(), name="hidden"),
        keras.layers.Dense(classes, kernel_initializer=next_initializer(), dtype="float32", name="logits"),
    ]
    return chain(layers, shape)
