"""Optimizers as one shape: variables that make up their state, and one update.

Keras' own optimizers have one learning rate for all variables; here biases of batch norms learn faster.
"""

from collections.abc import Sequence
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf

from tasks.core.model.devices import replicas
from tasks.core.recipes import Recipe

BIAS_RATE = 16.0  # batch-norm biases learn this many times faster than weights

MOMENTUM = 0.9
MUON_MOMENTUM = 0.6
MUON_RATE = 0.25  # the length of a kernel's step, in lengths of the kernel, for a learning rate of 1
ITERATIONS = 3
TINY = 1e-7  # keeps a gradient of zeros from being divided by zero
WEIGHT_DECAY = 5e-4  # of kernels, added to their gradients


class Optimizer(Protocol):
    """An optimizer for a fixed list of trainable variables.

    `update` takes each replica's share of the gradients, and adds them up (`replicas.all_reduce_sum`): every
    replica then makes the same update of its own copy of the variables.
    """

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
        self.apply(replicas.all_reduce_sum(gradients), learning_rate)

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Update by gradients that are added up already."""
        for variable, gradient, velocity, rate in zip(
            self.trainable, gradients, self.state, self.rates, strict=True
        ):
            if len(variable.shape) > 1:
                gradient += WEIGHT_DECAY * variable
            velocity.assign(MOMENTUM * velocity + gradient)
            variable.assign_sub(learning_rate * rate * (gradient + MOMENTUM * velocity))


class Muon:
    """Orthogonalised momentum for convolution kernels, Nesterov's for all other variables.

    K. Jordan et al., "Muon" (2024, kellerjordan.github.io/posts/muon): a kernel's step is the nearest
    matrix with orthonormal rows to its momentum, so that every direction learns at the same pace. Batch
    norm makes a kernel's length meaningless: it is held at the square root of its filters' number. Keras'
    own Muon leaves kernels of more than two dimensions to AdamW.

    Args:
        trainable: The variables; kernels are those of four dimensions.
        rates: A factor on the learning rate for each of them.
    """

    def __init__(self, trainable: Sequence[tf.Variable], rates: Sequence[float]) -> None:
        kernel = [len(variable.shape) == 4 for variable in trainable]
        self.kernels = [variable for variable, is_kernel in zip(trainable, kernel, strict=True) if is_kernel]
        self.moments = [tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in self.kernels]
        self.is_kernel = kernel
        self.others = Nesterov(
            [variable for variable, is_kernel in zip(trainable, kernel, strict=True) if not is_kernel],
            [rate for rate, is_kernel in zip(rates, kernel, strict=True) if not is_kernel],
        )
        self.state = self.moments + self.others.state

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        gradients = replicas.all_reduce_sum(gradients)
        of_kernels = [g for g, is_kernel in zip(gradients, self.is_kernel, strict=True) if is_kernel]
        for variable, gradient, moment in zip(self.kernels, of_kernels, self.moments, strict=True):
            moment.assign(MUON_MOMENTUM * moment + gradient)
            step = _oriented(gradient + MUON_MOMENTUM * moment)
            length = np.sqrt(variable.shape[-1])
            kept = variable * (length / (tf.norm(variable) + TINY))
            variable.assign(kept - MUON_RATE * learning_rate * step)
        of_others = [g for g, is_kernel in zip(gradients, self.is_kernel, strict=True) if not is_kernel]
        self.others.apply(of_others, learning_rate)


def _oriented(kernel: tf.Tensor) -> tf.Tensor:
    """The kernel as a matrix of one column a filter, with singular values near 1, in its own shape.

    Three steps of the quintic Newton-Schulz iteration with Jordan's coefficients bring singular values
    from 0.1..1 to 0.7..1.2, which is near enough. No transpose is ever made: oneDNN's cost as much as the
    iteration (6 % of a step of `flash`).
    """
    matrix = tf.reshape(kernel, (-1, kernel.shape[-1]))
    tall = matrix.shape[0] >= matrix.shape[1]
    matrix /= tf.norm(matrix) + TINY
    for _ in range(ITERATIONS):
        square = tf.matmul(matrix, matrix, transpose_a=tall, transpose_b=not tall)
        factor = -4.7750 * square + 2.0315 * tf.matmul(square, square)
        matrix = 3.4445 * matrix + (tf.matmul(matrix, factor) if tall else tf.matmul(factor, matrix))
    return tf.reshape(matrix, kernel.shape)


class Adam:
    """Keras' Adam (Kingma and Ba, 2015) with its usual settings; Keras itself adds up over replicas."""

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
    return (Muon if recipe.optimizer == "muon" else Nesterov)(trainable, rates)
