"""Learning-rate schedules."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.recipes import Recipe

WARM_UP = 0.2  # share of the steps in which the learning rate rises
START, END = 0.2, 0.02  # first and last learning rate, as shares of the peak


def learning_rates(recipe: Recipe, steps: int) -> NDArray[np.float32]:
    """The learning rate of every step, float32 (steps,).

    One cycle (Smith and Topin, 2018) is a linear rise to the peak and a linear fall, planned for all steps
    (Li et al., "Budgeted Training", 2020).
    """
    if recipe.schedule == "constant":
        return np.full(steps, recipe.learning_rate, np.float32)
    progress = (np.arange(steps) + 0.5) / steps
    shape = np.interp(progress, [0, WARM_UP, 1], [START, 1, END])
    return (recipe.learning_rate * shape).astype(np.float32)
