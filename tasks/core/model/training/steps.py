"""The plan of a training, fixed before it starts: its steps, and the images and learning rate of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.loader.shuffle import Shuffle
from tasks.core.recipes import Recipe

WARM_UP = 0.2  # share of the steps in which the learning rate rises
START, END = 0.2, 0.02  # first and last learning rate, as shares of the peak
COMPLETE_FIRST = 2  # epochs; before them losses say little
COMPLETE_AFTER = 0.85  # share of the steps: a training that ends with hard images only is biased towards them


@dataclass(frozen=True)
class StepPlan:
    """The part of a training that follows from its settings alone.

    Args:
        recipe: The recipe, fitted to the dataset.
        seed: Seed of everything random in the training.
        shuffle: Order of the training images in each epoch.
        per_epoch: Steps in an epoch; rows that do not fill a last batch are left out of that epoch.
        steps: Total number of steps.
        small_image_steps: The first steps, which see smaller images (`architectures.smaller_input`).
    """

    recipe: Recipe
    seed: int
    shuffle: Shuffle
    per_epoch: int
    steps: int
    small_image_steps: int = 0

    @classmethod
    def of(cls, recipe: Recipe, seed: int, images: int, image_bytes: int = 0) -> "StepPlan":
        """Plan a training.

        Args:
            recipe: The recipe, fitted to the dataset.
            seed: Seed of the training.
            images: Number of training images.
            image_bytes: Bytes of an image. Images that are too large for a full shuffle in memory are
                shuffled in windows; 0 always shuffles all images together.
        """
        per_epoch = max(1, images // recipe.batch_size)
        steps = max(1, round(recipe.epochs * per_epoch))
        small = round(recipe.small_image_share * steps)
        return cls(recipe, seed, Shuffle(seed, images, image_bytes), per_epoch, steps, small)

    def epoch(self, step: int) -> int:
        """The epoch, counted from 0, that `step` belongs to."""
        return step // self.per_epoch

    @property
    def needs_losses(self) -> bool:
        """Whether epochs leave out images by their losses; never in a split that is shuffled in windows."""
        return self.recipe.easy_left_out > 0 and self.shuffle.is_full_shuffle

    def leaves_out(self, epoch: int) -> bool:
        """Whether an epoch leaves out easy images: not the first two, and none of the last 15 % of steps."""
        last = COMPLETE_AFTER * self.steps
        return self.needs_losses and epoch >= COMPLETE_FIRST and (epoch + 1) * self.per_epoch <= last

    def window(self, start: int, length: int) -> int:
        """End (exclusive) of a window of at most `length` steps that starts at step `start`.

        A window never crosses the end of an epoch or of the steps with smaller images. The division into
        windows does not change the result of a training.
        """
        last = self.small_image_steps if start < self.small_image_steps else self.steps
        return min(start + max(1, length), (self.epoch(start) + 1) * self.per_epoch, last)

    def ends_epoch(self, step: int) -> bool:
        """Whether an epoch, or the training, is over after `step` steps."""
        return step % self.per_epoch == 0 or step == self.steps

    def positions(self, start: int, end: int) -> NDArray[np.int64]:
        """Positions, in the order of their epoch, of the images of steps start..end.

        Args:
            start: First step.
            end: One past the last step, in the same epoch.

        Returns:
            int64 (end - start, batch_size).
        """
        first, size = start % self.per_epoch, self.recipe.batch_size
        return np.arange(first * size, (first + end - start) * size).reshape(end - start, size)

    def learning_rates(self) -> NDArray[np.float32]:
        """The learning rate of every step, float32 (steps,).

        One cycle (Smith and Topin, 2018) is a linear rise to the peak and a linear fall, planned for all
        steps (Li et al., "Budgeted Training", 2020).
        """
        if self.recipe.schedule == "constant":
            return np.full(self.steps, self.recipe.learning_rate, np.float32)
        progress = (np.arange(self.steps) + 0.5) / self.steps
        shape = np.interp(progress, [0, WARM_UP, 1], [START, 1, END])
        return (self.recipe.learning_rate * shape).astype(np.float32)
