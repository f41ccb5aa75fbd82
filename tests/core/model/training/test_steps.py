from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core import recipes
from tasks.core.config import RecipeName
from tasks.core.model.training.steps import StepPlan

RECIPE = replace(recipes.RECIPES[RecipeName.fast], batch_size=16, epochs=2.5)


def rows_of(plan: StepPlan, start: int, end: int) -> NDArray[np.int64]:
    """The rows that the steps start..end see."""
    return plan.shuffle.order(plan.epoch(start))[plan.positions(start, end)].ravel()


def test_an_epoch_shows_each_image_at_most_once_and_each_batch_is_whole() -> None:
    plan = StepPlan.of(RECIPE, seed=3, images=100)
    assert (plan.per_epoch, plan.steps) == (6, 15)
    epochs = [rows_of(plan, start, start + 6) for start in (0, 6)]
    for rows in epochs:
        assert len(rows) == 96
        assert len(set(rows.tolist())) == 96
        assert rows.min() >= 0
        assert rows.max() < 100
    assert not np.array_equal(*epochs)
    assert not np.array_equal(rows_of(StepPlan.of(RECIPE, seed=4, images=100), 0, 6), epochs[0])


@pytest.mark.parametrize("length", [1, 2, 5, 100])
def test_windows_of_any_length_give_the_same_rows(length: int) -> None:
    plan = StepPlan.of(RECIPE, seed=3, images=100)
    step, seen = 0, []
    while step < plan.steps:
        end = plan.window(step, length)
        assert step < end <= step + length
        assert plan.epoch(end - 1) == plan.epoch(step)  # none crosses an epoch
        seen.append(rows_of(plan, step, end))
        step = end
    assert step == 15
    expected = [rows_of(plan, start, min(start + 6, 15)) for start in (0, 6, 12)]
    assert np.array_equal(np.concatenate(seen), np.concatenate(expected))


def test_epochs_end_where_they_should() -> None:
    plan = StepPlan.of(RECIPE, seed=0, images=100)
    assert [step for step in range(1, 16) if plan.ends_epoch(step)] == [6, 12, 15]


def test_there_is_always_a_step() -> None:
    tiny = StepPlan.of(replace(RECIPE, epochs=0.001, batch_size=3), seed=0, images=3)
    assert (tiny.per_epoch, tiny.steps) == (1, 1)
