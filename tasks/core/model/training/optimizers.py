"""Optimizers with a common interface: a list of state variables and an update method.

Keras' own optimizers have one learning rate for all variables; here the biases of batch norms learn faster.
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
MUON_RATE = 0.25  # norm of a kernel's step, relative to the norm of the kernel, at a learning rate of 1
NEWTON_SCHULZ_STEPS = 3
EPSILON = 1e-7  # keeps a gradient of zeros from being divided by zero
WEIGHT_DECAY = 5e-4  # added to the gradients of kernels


class Optimizer(Protocol):
    """An optimizer for a fixed list of trainable variables.

    `update` takes each replica's share of the gradients and sums them (`replicas.all_reduce_sum`). Every
    replica then applies the same update to its own copy of the variables.

    Attributes:
        state: All variables that change in an update besides the trainable ones, in a fixed order.
    """

    state: list[tf.Variable]

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Apply one step to the trainable variables.

        Args:
            gradients: This replica's share of the gradients, one for each variable.
            learning_rate: float32 scalar.
        """


class Nesterov:
    """Stochastic gradient descent with Nesterov's momentum (Sutskever et al., 2013).

    Args:
        trainable: The variables to train.
        rate_factors: Factor on the learning rate for each variable.
    """

    def __init__(self, trainable: Sequence[tf.Variable], rate_factors: Sequence[float]) -> None:
        self.trainable = list(trainable)
        self.rate_factors = list(rate_factors)
        self.state = [tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in trainable]

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """See `Optimizer.update`."""
        self.apply(replicas.all_reduce_sum(gradients), learning_rate)

    def apply(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """Apply one step with gradients that are already summed over replicas."""
        for variable, gradient, velocity, factor in zip(
            self.trainable, gradients, self.state, self.rate_factors, strict=True
        ):
            if len(variable.shape) > 1:
                gradient += WEIGHT_DECAY * variable
            velocity.assign(MOMENTUM * velocity + gradient)
            variable.assign_sub(learning_rate * factor * (gradient + MOMENTUM * velocity))


class Muon:
    """Orthogonalised momentum for convolution kernels, Nesterov's for all other variables.

    K. Jordan et al., "Muon" (2024, kellerjordan.github.io/posts/muon): a kernel's step is the matrix with
    orthonormal rows that is nearest to its momentum, so that every direction learns at the same rate. Batch
    norm makes a kernel's norm meaningless, so it is kept at the square root of the number of filters. Keras'
    own Muon leaves kernels of more than two dimensions to AdamW.

    Args:
        trainable: The variables to train; kernels are those with four dimensions.
        rate_factors: Factor on the learning rate for each variable; kernels ignore theirs.
        stacked: Whether kernels of one size are orthogonalized together, for a GPU, which waits for the start
            of each small product: a step of `best` took 1.4 ms instead of 2.7 on an H200. On a CPU it makes a
            step 1.3 (`good`) to 1.8 times (`flash`) as expensive.
    """

    def __init__(
        self, trainable: Sequence[tf.Variable], rate_factors: Sequence[float], *, stacked: bool = False
    ) -> None:
        self.stacked = stacked
        self.kernel_mask = [len(variable.shape) == 4 for variable in trainable]
        self.kernels = [
            variable for variable, is_kernel in zip(trainable, self.kernel_mask, strict=True) if is_kernel
        ]
        self.momenta = [tf.Variable(tf.zeros(variable.shape), trainable=False) for variable in self.kernels]
        self.others = Nesterov(
            [
                variable
                for variable, is_kernel in zip(trainable, self.kernel_mask, strict=True)
                if not is_kernel
            ],
            [
                factor
                for factor, is_kernel in zip(rate_factors, self.kernel_mask, strict=True)
                if not is_kernel
            ],
        )
        self.state = self.momenta + self.others.state

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """See `Optimizer.update`."""
        gradients = replicas.all_reduce_sum(gradients)
        of_kernels = [g for g, is_kernel in zip(gradients, self.kernel_mask, strict=True) if is_kernel]
        directions = []
        for gradient, momentum in zip(of_kernels, self.momenta, strict=True):
            momentum.assign(MUON_MOMENTUM * momentum + gradient)
            directions.append(gradient + MUON_MOMENTUM * momentum)
        for variable, step in zip(self.kernels, _orthogonalized(directions, self.stacked), strict=True):
            norm = np.sqrt(variable.shape[-1])
            rescaled = variable * (norm / (tf.norm(variable) + EPSILON))
            variable.assign(rescaled - MUON_RATE * learning_rate * step)
        of_others = [g for g, is_kernel in zip(gradients, self.kernel_mask, strict=True) if not is_kernel]
        self.others.apply(of_others, learning_rate)


def _orthogonalized(kernels: Sequence[tf.Tensor], stacked: bool) -> list[tf.Tensor]:
    """Bring the singular values of kernels, as matrices with one column per filter, near 1.

    Three steps of the quintic Newton-Schulz iteration with Jordan's coefficients bring singular values
    from 0.1..1 to 0.7..1.2, which is close enough. Each step multiplies the matrix by a polynomial in its
    Gram matrix. Those commute, so all steps are taken on the Gram matrix of the smaller side, and the matrix
    itself is multiplied once, by the product of the polynomials. The matrix is never transposed: oneDNN's
    transposes cost as much as the iteration (6 % of a step of `flash`).

    Args:
        kernels: float32 (H, W, C, filters) each.
        stacked: See `Muon`.

    Returns:
        The orthogonalized kernels, in the same order and shapes.
    """
    matrices = [tf.reshape(kernel, (-1, kernel.shape[-1])) for kernel in kernels]
    matrices = [matrix / (tf.norm(matrix) + EPSILON) for matrix in matrices]
    tall = [matrix.shape[0] >= matrix.shape[1] for matrix in matrices]
    grams = [tf.matmul(m, m, transpose_a=t, transpose_b=not t) for m, t in zip(matrices, tall, strict=True)]
    products = _stacked_polynomials(grams) if stacked else [_polynomial(gram) for gram in grams]
    steps = [
        tf.matmul(m, product) if t else tf.matmul(product, m)
        for m, t, product in zip(matrices, tall, products, strict=True)
    ]
    return [tf.reshape(step, kernel.shape) for step, kernel in zip(steps, kernels, strict=True)]


def _stacked_polynomials(grams: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """`_polynomial` of each matrix, with matrices of one size taken together."""
    products: list[tf.Tensor] = list(grams)
    for side in sorted({gram.shape[0] for gram in grams}):
        chosen = [index for index, gram in enumerate(grams) if gram.shape[0] == side]
        together = tf.unstack(_polynomial(tf.stack([grams[index] for index in chosen])))
        for index, product in zip(chosen, together, strict=True):
            products[index] = product
    return products


def _polynomial(gram: tf.Tensor) -> tf.Tensor:
    """The product of the iteration's polynomials for one Gram matrix (n, n), or several (matrices, n, n)."""
    identity = tf.eye(gram.shape[-1])
    product = identity
    for step in range(NEWTON_SCHULZ_STEPS):
        factor = 3.4445 * identity - 4.7750 * gram + 2.0315 * tf.matmul(gram, gram)
        product = tf.matmul(product, factor) if step else factor
        gram = tf.matmul(factor, tf.matmul(gram, factor))
    return product


class Adam:
    """Keras' Adam (Kingma and Ba, 2015) with its default settings; Keras itself sums over replicas.

    Args:
        trainable: The variables to train.
    """

    def __init__(self, trainable: Sequence[tf.Variable]) -> None:
        self.trainable = list(trainable)
        self._adam = keras.optimizers.Adam()
        self._adam.build(self.trainable)
        self.state = [variable.value for variable in self._adam.variables]

    def update(self, gradients: Sequence[tf.Tensor], learning_rate: tf.Tensor) -> None:
        """See `Optimizer.update`."""
        self._adam.learning_rate.assign(learning_rate)
        self._adam.apply(list(gradients), self.trainable)


def build(recipe: Recipe, model: keras.Model, bias_rate: float) -> Optimizer:
    """Build the recipe's optimizer for the model's trainable variables.

    Args:
        recipe: Its `optimizer` is "adam", "nesterov" or "muon".
        model: A built model.
        bias_rate: Factor on the learning rate of batch-norm biases; Adam ignores it.
    """
    trainable = [variable.value for variable in model.trainable_variables]
    if recipe.optimizer == "adam":
        return Adam(model.trainable_variables)
    rate_factors = [bias_rate if "norm" in variable.path else 1.0 for variable in model.trainable_variables]
    if recipe.optimizer == "nesterov":
        return Nesterov(trainable, rate_factors)
    return Muon(trainable, rate_factors, stacked=bool(tf.config.list_physical_devices("GPU")))
