"""The steps of a training, fixed before it starts, and which images each of them sees."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.recipes import Recipe


@dataclass(frozen=True)
class Plan:
    """Everything about a training's course that follows from its settings alone.

    Args:
        recipe: The recipe, fitted to the dataset.
        seed: Everything random follows from it.
        images: Number of training images.
        per_epoch: Steps in an epoch; the rows that don't fill a last batch wait for the next epoch's order.
        steps: Steps in all.
    """

    recipe: Recipe
    seed: int
    images: int
    per_epoch: int
    steps: int

    @classmethod
    def of(cls, recipe: Recipe, seed: int, images: int) -> "Plan":
        per_epoch = max(1, images // recipe.batch_size)
        return cls(recipe, seed, images, per_epoch, max(1, round(recipe.epochs * per_epoch)))

    def epoch(self, step: int) -> int:
        """The epoch, counted from 0, that step `step` belongs to."""
        return step // self.per_epoch

    def window(self, start: int, length: int) -> int:
        """The step before which a window of at most `length` steps from `start` on ends.

        A window ends with its epoch. How training is cut into windows changes nothing about its result.
        """
        return min(start + max(1, length), (self.epoch(start) + 1) * self.per_epoch, self.steps)

    def ends_epoch(self, step: int) -> bool:
        """Whether `step` steps make whole epochs, or are all that there are."""
        return step % self.per_epoch == 0 or step == self.steps

    def rows(self, start: int, end: int) -> NDArray[np.int64]:
        """Row numbers of the images of the steps start..end, in their order; all of one epoch."""
        first = start % self.per_epoch
        order = np.random.default_rng([self.seed, self.epoch(start)]).permutation(self.images)
        size = self.recipe.batch_size
        return order[first * size : (first + end - start) * size]
