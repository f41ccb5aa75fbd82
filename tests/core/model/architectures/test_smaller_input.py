"""A network for smaller images: how they are scaled, compared with TensorFlow, and whose weights it uses."""

import numpy as np
import pytest
import tensorflow as tf

from tasks.core.config import RecipeName
from tasks.core.model.architectures import build, smaller_input
from tasks.core.recipes import RECIPES

pytestmark = pytest.mark.slow


def test_area_weights_match_tensorflows_resize() -> None:
    for side, scaled in ((32, 24), (45, 34), (224, 168)):
        row = np.random.default_rng(side).uniform(0, 255, (1, 1, side, 1)).astype(np.float32)
        expected = tf.image.resize(row, (1, scaled), "area")[0, 0, :, 0]
        weights = smaller_input.area_weights(side, scaled)
        assert np.allclose(weights @ row[0, 0, :, 0], expected, atol=1e-3)


def test_smaller_input_applies_the_networks_own_layers_to_scaled_images() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 40, 3), np.uint8)
    model = build.build(RECIPES[RecipeName.good], images, classes=5, seed=0)
    smaller = smaller_input.SmallerInput(model)
    model.get_layer("logits").kernel.assign_add(tf.ones_like(model.get_layer("logits").kernel))
    outputs = tf.image.resize(images, (24, 30), "area")
    for layer in model.layers[1:]:
        outputs = layer(outputs)
    assert np.allclose(smaller(tf.constant(images)), outputs, atol=1e-4)
    variables = {id(variable) for variable in model.variables}
    assert {id(variable) for variable in smaller.network.variables} == variables


@pytest.mark.parametrize(
    ("shape", "possible"), [((8, 8, 1), False), ((28, 28, 1), False), ((32, 48, 3), True)]
)
def test_only_images_of_32_pixels_and_more_are_scaled_down(shape: tuple[int, ...], possible: bool) -> None:
    assert smaller_input.is_possible(shape) is possible
