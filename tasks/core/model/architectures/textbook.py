"""The textbook CNN."""

import keras

from tasks.core.model.architectures.layers import Draw, chain
from tasks.core.recipes import Recipe

TEXTBOOK = (32, 64, 64)  # channels of the textbook CNN's convolutions


def build_textbook(
    recipe: Recipe, shape: tuple[int, ...], classes: int, seed: int, draw: Draw
) -> keras.Model:
    # Three valid 3x3 convolutions and two pools need 18 pixels; smaller images get same padding.
    padding = "valid" if min(shape[:2]) >= 18 else "same"
    layers: list[keras.layers.Layer] = [keras.layers.Rescaling(1 / 255, name="rescale")]
    if recipe.augment == "rotate":
        layers += [
            keras.layers.RandomFlip("horizontal", seed=seed, name="augment_flip"),
            keras.layers.RandomRotation(0.1, seed=seed + 1, name="augment_rotate"),
            keras.layers.RandomZoom(0.1, seed=seed + 2, name="augment_zoom"),
        ]
    for number, width in enumerate(TEXTBOOK, start=1):
        layers.append(
            keras.layers.Conv2D(
                width,
                3,
                padding=padding,
                activation="relu",
                kernel_initializer=draw(),
                name=f"convolution_{number}",
            )
        )
        if number < len(TEXTBOOK):
            layers.append(keras.layers.MaxPooling2D(name=f"pool_{number}"))
    layers += [
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(64, activation="relu", kernel_initializer=draw(), name="hidden"),
        keras.layers.Dense(classes, kernel_initializer=draw(), dtype="float32", name="logits"),
    ]
    return chain(layers, shape)
