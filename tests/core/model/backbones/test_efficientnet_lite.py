"""EfficientNet-Lite0 against the same network with its batch norms as layers of Keras."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.model.backbones import catalog, efficientnet_lite, network, state_dict, weights
from tests.support.synthetic_photos import scenes

pytestmark = pytest.mark.slow

SIZE = 64
# Table 1 of the EfficientNet paper: expansion, channels, repeats, stride and kernel of each stage.
STAGES = (
    *((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3)),
    *((6, 112, 3, 1, 5), (6, 192, 4, 2, 5), (6, 320, 1, 1, 3)),
)
State = Mapping[str, NDArray[Any]]


def unfolded(state: State) -> keras.Model:
    """EfficientNet-Lite0 from the state dict, with batch norms."""
    inputs = keras.Input((SIZE, SIZE, 3))
    values = normalized(state, convolved(state, (inputs - 127.0) / 128.0, "_conv_stem", 2), "_bn0")
    number = 0
    for expansion, channels, repeats, stride, _ in STAGES:
        for repeat in range(repeats):
            values = block(state, values, number, expansion, channels, stride if repeat == 0 else 1)
            number += 1
    values = normalized(state, convolved(state, values, "_conv_head"), "_bn1")
    return keras.Model(inputs, keras.ops.mean(values, axis=(1, 2)))


def block(state: State, values: Any, number: int, expansion: int, channels: int, stride: int) -> Any:
    inputs, name = values, f"_blocks.{number}"
    if expansion > 1:
        values = normalized(state, convolved(state, values, f"{name}._expand_conv"), f"{name}._bn0")
    kernel = state[f"{name}._depthwise_conv.weight"]
    layer = keras.layers.DepthwiseConv2D(kernel.shape[2:], stride, "same", use_bias=False)
    values = layer(values)
    layer.set_weights([kernel.transpose(2, 3, 0, 1)])
    values = normalized(state, values, f"{name}._bn1")
    values = normalized(state, convolved(state, values, f"{name}._project_conv"), f"{name}._bn2", relu=False)
    assert values.shape[-1] == channels
    return values + inputs if values.shape == inputs.shape else values


def convolved(state: State, values: Any, name: str, stride: int = 1) -> Any:
    kernel = state[f"{name}.weight"]
    layer = keras.layers.Conv2D(len(kernel), kernel.shape[2:], stride, "same", use_bias=False)
    outputs = layer(values)
    layer.set_weights([kernel.transpose(2, 3, 1, 0)])
    return outputs


def normalized(state: State, values: Any, name: str, relu: bool = True) -> Any:
    layer = keras.layers.BatchNormalization(epsilon=1e-3)
    outputs = layer(values)
    names = ("weight", "bias", "running_mean", "running_var")
    layer.set_weights([state[f"{name}.{each}"] for each in names])
    return keras.ops.relu6(outputs) if relu else outputs


@pytest.fixture(scope="module")
def file() -> Path:
    return weights.locate(catalog.EFFICIENTNET_LITE0)


@pytest.fixture(scope="module")
def folded() -> keras.Model:
    return network.build(catalog.EFFICIENTNET_LITE0, SIZE)


def test_folded_network_has_the_features_of_the_unfolded_one(file: Path, folded: keras.Model) -> None:
    photos = scenes(8, side=SIZE)
    expected = np.asarray(unfolded(state_dict.read(file))(photos.astype(np.float32), training=False))
    features = np.asarray(folded(photos))
    assert features.shape == (8, 1280)
    assert np.abs(features).max() > 1
    assert np.abs(features - expected).max() < 1e-4


def test_kernels_of_the_blocks_are_those_of_the_paper(file: Path) -> None:
    state = state_dict.read(file)
    kernels = [stage[4] for stage in STAGES for _ in range(stage[2])]
    declared = [block.kernel for block in efficientnet_lite.blocks()]
    found = [state[f"_blocks.{number}._depthwise_conv.weight"].shape[2] for number in range(len(kernels))]
    assert kernels == declared == found


@pytest.mark.parametrize("value", [0, 255])
def test_features_are_finite_at_both_ends_of_uint8(value: int, folded: keras.Model) -> None:
    features = np.asarray(folded(np.full((1, SIZE, SIZE, 3), value, np.uint8)))
    assert np.isfinite(features).all()
    assert 0 <= features.min() < features.max() <= 6  # of the last ReLU6, averaged


def test_backbone_takes_uint8_and_has_its_trunk(folded: keras.Model) -> None:
    assert folded.inputs[0].dtype == "uint8"
    assert folded.get_layer(catalog.EFFICIENTNET_LITE0.trunk).output.shape == (None, 4, 4, 112)
