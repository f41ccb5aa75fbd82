"""The steps of a training, fixed before it starts, and which images each of them sees."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.loader.shuffle import Shuffle
from tasks.core.recipes import Recipe


@dataclass(frozen=True)
class StepPlan:
    """Everything about a training's course that follows from its settings alone.

    Args:
        recipe: The recipe, fitted to the dataset.
        seed: Everything random follows from it.
        shuffle: The order of the training images.
        per_epoch: Steps in an epoch; the rows that don't fill a last batch wait for the next epoch's order.
        steps: Steps in all.
    """

    recipe: Recipe
    seed: int
    shuffle: Shuffle
    per_epoch: int
    steps: int

    @classmethod
    def of(cls, recipe: Recipe, seed: int, images: int, image_bytes: int = 0) -> "StepPlan":
        """The plan for a number of training images.

        Args:
            image_bytes: Of an image; with them the order spares the memory where images take too much.
        """
        per_epoch = max(1, images // recipe.batch_size)
        steps = max(1, round(recipe.epochs * per_epoch))
        return cls(recipe, seed, Shuffle(seed, images, image_bytes), per_epoch, steps)

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

    def positions(self, start: int, end: int) -> NDArray[np.int64]:
        """Places, in the order of their one epoch, of the images of the steps start..end; (steps, batch)."""
        first, size = start % self.per_epoch, self.recipe.batch_size
        return np.arange(first * size, (first + end - start) * size).reshape(end - start, size)
