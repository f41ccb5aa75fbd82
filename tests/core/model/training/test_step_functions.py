"""Which layers the last steps train; the division into windows and a resume are in test_trainer.py."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tasks.core.config import RecipeName
from tasks.core.data.tensors.cache import open_split
from tasks.core.model.training.steps import StepPlan
from tasks.core.model.training.trainer import Trainer
from tasks.core.recipes import RECIPES, Recipe
from tasks.core.stage.handles import TensorCache

pytestmark = pytest.mark.slow


def trained(tensors: TensorCache, recipe: Recipe, steps: int, saved: Trainer | None = None) -> Trainer:
    """A trainer after some steps; of `saved` it takes the checkpoint."""
    tf.config.experimental.enable_op_determinism()
    train, val = open_split(tensors, "train"), open_split(tensors, "val")
    trainer = Trainer(StepPlan.of(recipe, 0, tensors.train), train, val, len(tensors.classes))
    if saved:
        trainer.restore(saved.checkpoint())
    while trainer.step < steps:
        trainer.run(trainer.plan.window(trainer.step, steps - trainer.step))
    return trainer


def test_last_steps_leave_the_first_group_as_it_is(tensors: Callable[..., TensorCache]) -> None:
    data = tensors(shape=(16, 16, 3))
    recipe = replace(RECIPES[RecipeName.fast], batch_size=32, epochs=1.0, frozen_share=0.34)
    before = trained(data, recipe, 6)
    assert (before.plan.steps, before.plan.frozen_steps) == (9, 3)
    after = trained(data, recipe, 9)
    moved = {
        variable.path: not np.array_equal(variable, earlier)
        for variable, earlier in zip(
            after.model.trainable_variables, before.model.trainable_variables, strict=True
        )
    }
    assert moved == {path: not path.startswith("group_1_") for path in moved}
    assert sum(moved.values()) >= 3
    resumed = trained(data, recipe, 9, saved=before)
    for ours, theirs in zip(resumed.variables, after.variables, strict=True):
        assert np.array_equal(ours, theirs)


def test_first_steps_do_not_depend_on_what_is_frozen_later(tensors: Callable[..., TensorCache]) -> None:
    data = tensors(shape=(16, 16, 3))
    recipe = replace(RECIPES[RecipeName.fast], batch_size=32, epochs=1.0)
    losses = [trained(data, replace(recipe, frozen_share=share), 6).epoch_totals[:3] for share in (0.0, 0.34)]
    assert losses[0] == losses[1]
