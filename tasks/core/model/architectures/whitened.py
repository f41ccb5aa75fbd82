"""The whitened network (Jordan, arXiv 2404.00498, 2024)."""

from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray

from tasks.core import process_memory
from tasks.core.model.architectures import whitening
from tasks.core.model.architectures.convolution import Convolution
from tasks.core.model.architectures.layers import FusedBatchNorm, InitializerFactory, chain
from tasks.core.recipes import Recipe

MIN_SIDE = 8  # pixels; groups are added until the last feature map has at most this side
MIN_TRIMMED_SIDE = 7  # pixels; feature maps with a smaller side keep their odd row and column
LOGIT_SCALE = 0.25  # small logits at the start keep training stable at the one-cycle's high learning rates


@dataclass(frozen=True)
class Stem:
    """Geometry of the whitening convolution: patch size and stride, in pixels."""

    size: int
    stride: int


def stem_of(recipe: Recipe, side: int) -> Stem:
    """The stem for images whose shorter side is `side` pixels; larger images get coarser patches."""
    if side < 16:
        return Stem(size=3, stride=1)
    if recipe.stem == "fine" and side <= 48:
        return Stem(size=2, stride=1)
    return Stem(size=4, stride=2)


def build_whitened(
    recipe: Recipe,
    images: NDArray[np.uint8],
    shape: tuple[int, ...],
    classes: int,
    next_initializer: InitializerFactory,
) -> keras.Model:
    """Build the whitened network, with its stem calculated from the images.

    Args:
        recipe: Its `stem`, `stem_filters`, `block_widths` and `drop_odd_edge` give the size.
        images: Training images, uint8 (N, H, W, C).
        shape: Height, width and channels of the images.
        classes: Number of classes.
        next_initializer: Gives each layer's kernel initializer.

    Returns:
        Model from uint8 (N, H, W, C) to logits, float32 (N, classes).
    """
    stem = stem_of(recipe, min(shape[:2]))
    count = min(recipe.stem_filters, 2 * stem.size**2 * shape[2])
    whiten = _whitening_layer(stem, count, next_initializer())
    layers: list[keras.layers.Layer] = [keras.layers.Rescaling(1 / 255, name="rescale"), whiten]
    side = (min(shape[:2]) - stem.size) // stem.stride + 1
    for number, widths in enumerate(_padded_groups(recipe, side), start=1):
        padding = "valid" if recipe.drop_odd_edge and side >= MIN_TRIMMED_SIDE else "same"
        layers += _group(f"group_{number}", widths, padding, recipe.activation)
        side = side // 2 if padding == "valid" else (side + 1) // 2
    layers += _logits(classes, next_initializer())
    model = chain(layers, shape)
    for layer in layers[2:]:
        if isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([_partly_identity(layer.kernel.shape, next_initializer())])
    whiten.set_weights(list(whitening.filters(images, stem.size, stem.stride, count)))
    process_memory.give_back()  # 40 MB of the patches
    return model


def _whitening_layer(
    stem: Stem, filters: int, initializer: keras.initializers.Initializer
) -> keras.layers.Conv2D:
    return keras.layers.Conv2D(
        filters,
        stem.size,
        strides=stem.stride,
        activation="relu",
        kernel_initializer=initializer,
        trainable=False,
        name="whiten",
    )


def _logits(classes: int, initializer: keras.initializers.Initializer) -> list[keras.layers.Layer]:
    """From the last feature map to the logits.

    float32 under every policy: bfloat16 has 8 bits of significand, so that logits would tie.
    """
    return [
        keras.layers.GlobalMaxPooling2D(name="global_max"),
        keras.layers.Dense(
            classes, use_bias=False, kernel_initializer=initializer, dtype="float32", name="logits"
        ),
        keras.layers.Rescaling(LOGIT_SCALE, dtype="float32", name="scale_logits"),
    ]


def largest_map(recipe: Recipe, shape: tuple[int, ...]) -> int:
    """Values of an image's largest map: that of the stem or of the convolution after it.

    Args:
        recipe: As for `build_whitened`.
        shape: Height, width and channels of the images.
    """
    stem = stem_of(recipe, min(shape[:2]))
    height, width = ((side - stem.size) // stem.stride + 1 for side in shape[:2])
    return height * width * max(recipe.stem_filters, recipe.block_widths[0][0])


def _padded_groups(recipe: Recipe, side: int) -> list[tuple[int, ...]]:
    """The recipe's groups, after as many narrow ones as large images need to come down to `MIN_SIDE`."""
    halvings = max(0, int(np.ceil(np.log2(side / MIN_SIDE))))
    extra = max(0, halvings - len(recipe.block_widths))
    return [(recipe.block_widths[0][0],)] * extra + list(recipe.block_widths)


def _group(name: str, widths: tuple[int, ...], padding: str, activation: str) -> list[keras.layers.Layer]:
    """Convolutions with batch norm and activation; the output of the first is halved in height and width.

    The pool comes before the norm and the activation, so that both work on a quarter of the map. The norm and
    ReLU keep the order of values: with them the pool chooses the same ones as after them.

    Args:
        name: Prefix of the layers' names.
        widths: Channels of each convolution.
        padding: Padding of the pool: "valid" leaves out an odd last row and column, "same" keeps them.
        activation: Name of the activation.
    """
    layers: list[keras.layers.Layer] = []
    for number, width in enumerate(widths, start=1):
        convolution = f"{name}_convolution_{number}"
        layers.append(
            Convolution(
                width,
                3,
                padding="same",
                use_bias=False,
                kernel_initializer="zeros",  # until `build_whitened` sets it
                name=convolution,
            )
        )
        if number == 1:
            layers.append(keras.layers.MaxPooling2D(padding=padding, name=f"{name}_pool"))
        layers += [
            FusedBatchNorm(name=f"{name}_norm_{number}"),
            keras.layers.Activation(activation, name=f"{name}_{activation}_{number}"),
        ]
    return layers


def _partly_identity(shape: tuple[int, ...], glorot: keras.initializers.Initializer) -> NDArray[np.float32]:
    """Glorot's uniform weights, with an identity for the first channels (Jordan, 2024, "dirac")."""
    kernel = np.array(glorot(shape))
    for channel in range(min(shape[2], shape[3])):
        kernel[:, :, :, channel] = 0
        kernel[shape[0] // 2, shape[1] // 2, channel, channel] = 1
    return kernel
