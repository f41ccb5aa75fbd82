"""Optimizers as one shape: variables that make up their state, and one update.

Keras' own optimizers have one learning rate for all variables; here biases of batch norms learn faster.
"""

from collections.abc import Sequence
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tasks.core.recipes import Recipe

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4  # of kernels, added to their gradients
WARM_UP = 0.2  # share of the steps in which the learning rate rises
START, END = 0.2, 0.02  # of the peak


class Optimizer(Protocol):
    """An optimizer for a fixed list of trainable variables."""

    state: list[tf.Variable]

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None: ...


class Nesterov:
    """Stochastic gradient descent with Nesterov's momentum (Sutskever et al., 2013).

    Args:
        trainable: The variables.
        rates: A factor on the learning rate for each of them.
    """

    def __init__(self, trainable: Sequence[tf.Variable], rates: Sequence[float]) -> None:
        self.trainable = list(trainable)
        self.rates = list(rates)
        self.state = [tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in trainable]

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        for variable, gradient, velocity, rate in zip(
            self.trainable, gradients, self.state, self.rates, strict=True
        ):
            if len(variable.shape) > 1:
                gradient += WEIGHT_DECAY * variable
            velocity.assign(MOMENTUM * velocity + gradient)
            variable.assign_sub(learning_rate * rate * (gradient + MOMENTUM * velocity))


class Adam:
    """Keras' Adam (Kingma and Ba, 2015) with its usual settings."""

    def __init__(self, trainable: Sequence[tf.Variable]) -> None:
        self.trainable = list(trainable)
        self._adam = keras.optimizers.Adam()
        self._adam.build(self.trainable)
        self.state = [variable.value for variable in self._adam.variables]

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        self._adam.learning_rate.assign(learning_rate)
        self._adam.apply(list(gradients), self.trainable)


def build(recipe: Recipe, model: keras.Model, bias_rate: float) -> Optimizer:
    """The recipe's optimizer for the model's trainable variables.

    Args:
        bias_rate: Factor on the learning rate of batch-norm biases.
    """
    trainable = [variable.value for variable in model.trainable_variables]
    if recipe.optimizer == "adam":
        return Adam(model.trainable_variables)
    rates = [bias_rate if "norm" in variable.path else 1.0 for variable in model.trainable_variables]
    return Nesterov(trainable, rates)


def learning_rates(recipe: Recipe, steps: int) -> NDArray[np.float32]:
    """The learning rate of every step, float32 (steps,).

    Nesterov: one cycle (Smith and Topin, 2018), a straight rise to the peak and a straight fall, planned
    for the whole budget (Li et al., "Budgeted Training", 2020). Adam: constant.
    """
    if recipe.optimizer == "adam":
        return np.full(steps, recipe.learning_rate, np.float32)
    progress = (np.arange(steps) + 0.5) / steps
    shape = np.interp(progress, [0, WARM_UP, 1], [START, 1, END])
    return (recipe.learning_rate * shape).astype(np.float32)
