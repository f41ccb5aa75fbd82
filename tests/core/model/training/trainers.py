"""Trainers on small tensors, and what is compared of them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import tensorflow as tf

from tasks.core import recipes
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.tensors.cache import open_split
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Trainer
from tasks.core.recipes import Recipe
from tasks.core.stage.handles import TensorCache

Make = Callable[..., TensorCache]


def started(
    tensors: TensorCache, recipe: Recipe, seed: int = 0, window: int = 0, *, resident: bool = False
) -> Trainer:
    """A trainer at step 0; a `window` above 0 shuffles in windows of so many images, as for a large split."""
    tf.config.experimental.enable_op_determinism()  # as the training loop does
    plan = StepPlan.of(recipe, seed, tensors.train)
    if window:
        size = int(np.prod(tensors.shape))
        sizes = {"full_shuffle_bytes": 0, "window_bytes": window * size, "block_bytes": window // 4 * size}
        plan = replace(plan, shuffle=replace(plan.shuffle, row_bytes=size, **sizes))
    train, val = open_split(tensors, "train"), open_split(tensors, "val")
    return Trainer(plan, train, val, len(tensors.classes), on_gpu=resident)


def fitted(tensors: TensorCache, name: RecipeName, **changes: object) -> Recipe:
    """A recipe with batches of 32 images, for two epochs unless changed."""
    recipe = recipes.resolve(TrainSettings(recipe=name), tensors.train)
    return replace(recipe, batch_size=32, **{"epochs": 2.0} | changes)


def values(trainer: Trainer) -> list[np.ndarray]:
    """Values of all variables of the model and the optimizer."""
    return [variable.numpy() for variable in trainer.variables]


def identical(first: Trainer, second: Trainer) -> bool:
    """Whether two trainers have byte-identical variables and equal histories, apart from times."""
    return all(
        a.tobytes() == b.tobytes() for a, b in zip(values(first), values(second), strict=True)
    ) and without_times(first) == without_times(second)


def without_times(trainer: Trainer) -> list[dict[str, float]]:
    """The trainer's history without the measured times."""
    return [
        {name: value for name, value in entry.items() if name not in ("seconds", "images_per_second")}
        for entry in trainer.history
    ]
