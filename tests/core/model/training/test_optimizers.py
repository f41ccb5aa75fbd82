"""Optimizers, compared with NumPy, with numbers worked out by hand and with Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.model.training import optimizers

pytestmark = pytest.mark.slow

GENERATOR = np.random.default_rng(0)


def variables(*shapes: tuple[int, ...]) -> list[tf.Variable]:
    return [tf.Variable(GENERATOR.normal(size=shape).astype(np.float32)) for shape in shapes]


def gradients(*shapes: tuple[int, ...], steps: int) -> list[list[NDArray[np.float32]]]:
    return [[GENERATOR.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(steps)]


def test_nesterov_matches_hand_computed_steps() -> None:
    """Weight 1, gradient 2, rate 0.1, decay 5e-4: velocity 2.0005, step 0.1 * (2.0005 + 0.9 * 2.0005)."""
    weight = tf.Variable([[1.0]])
    nesterov = optimizers.Nesterov([weight], [1.0])
    nesterov.update([tf.constant([[2.0]])], tf.constant(0.1))
    assert float(weight[0, 0]) == pytest.approx(1 - 0.1 * (2.0005 + 0.9 * 2.0005), abs=1e-6)
    nesterov.update([tf.constant([[0.0]])], tf.constant(0.1))
    before = 1 - 0.1 * 1.9 * 2.0005
    gradient = 5e-4 * before
    velocity = 0.9 * 2.0005 + gradient
    assert float(weight[0, 0]) == pytest.approx(before - 0.1 * (gradient + 0.9 * velocity), abs=1e-6)


def test_nesterov_matches_keras_sgd() -> None:
    """A vector has no weight decay, so `keras.optimizers.SGD(nesterov=True)` gives the same."""
    ours, theirs = variables((5,)), [tf.Variable(tf.zeros(5))]
    theirs[0].assign(ours[0])
    nesterov = optimizers.Nesterov(ours, [16.0])
    sgd = keras.optimizers.SGD(0.01 * 16, momentum=optimizers.MOMENTUM, nesterov=True)
    for (gradient,) in gradients((5,), steps=6):
        nesterov.update([tf.constant(gradient)], tf.constant(0.01))
        sgd.apply([tf.constant(gradient)], theirs)
    assert np.allclose(ours[0], theirs[0], atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 3, 8, 12), (1, 1, 6, 20)])
def test_muon_step_is_orthogonalized_momentum(shape: tuple[int, ...]) -> None:
    """The step has the directions of NumPy's singular value decomposition, all with similar length."""
    (kernel,) = variables(shape)
    before = kernel.numpy().reshape(-1, shape[-1])
    ((gradient,),) = gradients(shape, steps=1)
    muon = optimizers.Muon([kernel], [1.0])
    muon.update([tf.constant(gradient)], tf.constant(0.3))
    length = np.sqrt(shape[-1])
    step = (before * length / np.linalg.norm(before) - kernel.numpy().reshape(before.shape)) / (
        optimizers.MUON_RATE * 0.3
    )
    left, _, right = np.linalg.svd(gradient.reshape(before.shape), full_matrices=False)
    coordinates = left.T @ step @ right.T
    lengths = np.diag(coordinates)
    assert np.abs(coordinates - np.diag(lengths)).max() < 1e-3
    assert lengths.min() > 0.5
    assert lengths.max() < 1.3


def test_muon_keeps_kernel_norms_and_updates_other_variables_with_nesterov() -> None:
    shapes = ((3, 3, 4, 16), (16,), (16, 5))
    ours = variables(*shapes)
    others = [tf.Variable(variable) for variable in ours[1:]]
    muon = optimizers.Muon(ours, [1.0, 16.0, 1.0])
    nesterov = optimizers.Nesterov(others, [16.0, 1.0])
    for step in gradients(*shapes, steps=4):
        muon.update([tf.constant(gradient) for gradient in step], tf.constant(0.01))
        nesterov.update([tf.constant(gradient) for gradient in step[1:]], tf.constant(0.01))
    assert float(tf.norm(ours[0])) == pytest.approx(4, rel=0.05)  # the square root of 16 filters
    assert all(np.array_equal(a, b) for a, b in zip(ours[1:], others, strict=True))
    assert len(muon.state) == 3


def test_muon_with_stacked_kernels_takes_the_same_steps() -> None:
    shapes = ((3, 3, 4, 16), (3, 3, 16, 8), (3, 3, 8, 8), (16,), (1, 1, 6, 20))
    ours = variables(*shapes)
    theirs = [tf.Variable(variable) for variable in ours]
    alone = optimizers.Muon(ours, [1.0] * len(shapes))
    stacked = optimizers.Muon(theirs, [1.0] * len(shapes), stacked=True)
    for step in gradients(*shapes, steps=3):
        alone.update([tf.constant(gradient) for gradient in step], tf.constant(0.3))
        stacked.update([tf.constant(gradient) for gradient in step], tf.constant(0.3))
    assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(ours, theirs, strict=True))


def test_muon_with_zero_gradient_stays_finite() -> None:
    (kernel,) = variables((3, 3, 4, 4))
    optimizers.Muon([kernel], [1.0]).update([tf.zeros(kernel.shape)], tf.constant(0.1))
    assert np.isfinite(kernel.numpy()).all()


def test_adam_with_restored_state_matches_keras_adam() -> None:
    """A second Adam with the first one's state continues identically."""
    shapes = ((4, 3), (3,))
    ours, theirs = ([keras.Variable(np.ones(shape, np.float32)) for shape in shapes] for _ in range(2))
    steps = gradients(*shapes, steps=6)
    adam, keras_adam = optimizers.Adam(ours), keras.optimizers.Adam(0.01)
    for step in steps[:3]:
        adam.update([tf.constant(gradient) for gradient in step], tf.constant(0.01))
    resumed = optimizers.Adam(ours)
    for variable, value in zip(resumed.state, adam.state, strict=True):
        variable.assign(value)
    for step in steps[3:]:
        resumed.update([tf.constant(gradient) for gradient in step], tf.constant(0.01))
    for step in steps:
        keras_adam.apply([tf.constant(gradient) for gradient in step], theirs)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(ours, theirs, strict=True))
