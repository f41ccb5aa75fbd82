"""Which images each step of a training sees: the shuffle's, or fewer of those whose loss is low already."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tasks.core.model.training.steps import StepPlan

PASS = 1_000_003  # between the draws of two passes; odd, so that the next pass mirrors the other images


class ImageOrder:
    """The images of a training's steps. What it gives depends on the seed and on the losses it was told.

    An epoch that leaves out easy images (`StepPlan.leaves_out`) consists of passes. An image is easy if its
    last loss before the epoch was below the mean. Each pass leaves out each easy image with a probability of
    the recipe's `easy_left_out` and sees the others in random order. Passes follow each other until the epoch
    has as many images as any other; what exceeds them of the last pass is not seen.

    The idea is InfoBatch's (Qin et al., "InfoBatch: Lossless Training Speed Up by Unbiased Dynamic Data
    Pruning", ICLR 2024), without its weights: to count the easy images that are left twice was not better
    (docs/experiments.md).

    Args:
        plan: The epochs and their shuffle.
    """

    def __init__(self, plan: StepPlan) -> None:
        self.plan = plan
        rows = plan.shuffle.rows if plan.needs_losses else 0
        # NaN where an image has not been seen. An epoch's order follows from the losses before it.
        self._losses = np.full(rows, np.nan, np.float32)
        self._losses_before = self._losses.copy()
        self._passes = lru_cache(maxsize=1)(self._draw_passes)

    @property
    def state(self) -> list[NDArray[np.float32]]:
        """What a checkpoint has to hold; empty if no epoch leaves out images."""
        return [self._losses.copy(), self._losses_before.copy()] if self.plan.needs_losses else []

    def restore(self, state: list[NDArray[np.float32]]) -> None:
        """Set the state to that of a training with the same plan."""
        self._passes.cache_clear()
        if self.plan.needs_losses:
            self._losses, self._losses_before = (value.copy() for value in state)

    def rows(self, start: int, end: int) -> NDArray[np.int64]:
        """Row numbers of the images of steps of one epoch, int64 (end - start, batch_size)."""
        epoch, positions = self.plan.epoch(start), self.plan.positions(start, end)
        order = self._passes(epoch)[0] if self.plan.leaves_out(epoch) else self.plan.shuffle.order(epoch)
        return order[positions]

    def draws(self, start: int, end: int) -> NDArray[np.int64]:
        """The draw of each image's augmentation, int64 (end - start, batch_size): the epoch, or its pass."""
        epoch, positions = self.plan.epoch(start), self.plan.positions(start, end)
        if not self.plan.leaves_out(epoch):
            return np.full(positions.shape, epoch)
        return epoch + PASS * self._passes(epoch)[1][positions]

    def tell(self, start: int, end: int, losses: NDArray[np.float32]) -> None:
        """Tell the losses of the images of steps start..end, float32 (end - start, batch_size)."""
        if not self.plan.needs_losses:
            return
        self._losses[self.rows(start, end)] = losses
        if self.plan.ends_epoch(end):
            self._passes.cache_clear()
            self._losses_before[:] = self._losses

    def _draw_passes(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers of an epoch in order, and the pass of each, counted from 0: int64 (n,)."""
        generator = np.random.default_rng([self.plan.seed, epoch, 1])
        easy = self._losses_before < np.nanmean(self._losses_before, dtype=np.float64)
        needed = self.plan.per_epoch * self.plan.recipe.batch_size
        passes: list[NDArray[np.int64]] = []
        while sum(map(len, passes)) < needed:
            left_out = easy & (generator.random(len(easy)) < self.plan.recipe.easy_left_out)
            passes.append(generator.permutation(np.flatnonzero(~left_out)))
        numbers = np.repeat(np.arange(len(passes)), [len(rows) for rows in passes])
        return np.concatenate(passes)[:needed], numbers[:needed]
