"""The plan of a training: steps, windows and the rows of each step."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core import recipes
from tasks.core.config import RecipeName
from tasks.core.model.training.steps import StepPlan

RECIPE = replace(recipes.RECIPES[RecipeName.fast], batch_size=16, epochs=2.5)


def rows_of(plan: StepPlan, start: int, end: int) -> NDArray[np.int64]:
    """Rows of the images of steps start..end."""
    return plan.shuffle.order(plan.epoch(start))[plan.positions(start, end)].ravel()


def test_positions_in_an_epoch_are_unique_and_fill_each_batch() -> None:
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
def test_window_of_any_length_gives_same_rows(length: int) -> None:
    plan = StepPlan.of(RECIPE, seed=3, images=100)
    step, rows = 0, []
    while step < plan.steps:
        end = plan.window(step, length)
        assert step < end <= step + length
        assert plan.epoch(end - 1) == plan.epoch(step)  # no window crosses the end of an epoch
        rows.append(rows_of(plan, step, end))
        step = end
    assert step == 15
    expected = [rows_of(plan, start, min(start + 6, 15)) for start in (0, 6, 12)]
    assert np.array_equal(np.concatenate(rows), np.concatenate(expected))


def test_window_ends_where_images_become_larger() -> None:
    """Half of 15 steps is rounded to 8; an epoch has 6."""
    plan = StepPlan.of(replace(RECIPE, small_image_share=0.5), seed=0, images=100)
    assert plan.small_image_steps == 8
    assert [plan.window(step, 100) for step in (0, 6, 8, 12)] == [6, 8, 12, 15]


def test_ends_epoch_is_true_after_complete_epochs_and_the_last_step() -> None:
    plan = StepPlan.of(RECIPE, seed=0, images=100)
    assert [step for step in range(1, 16) if plan.ends_epoch(step)] == [6, 12, 15]


def test_plan_of_tiny_dataset_has_one_step() -> None:
    tiny = StepPlan.of(replace(RECIPE, epochs=0.001, batch_size=3), seed=0, images=3)
    assert (tiny.per_epoch, tiny.steps) == (1, 1)


def test_learning_rates_one_cycle_match_hand_computed_values() -> None:
    """Ten steps: centres 0.05 and 0.15 lie on the rise from 0.2 to 1 of the peak, the others on the fall."""
    rates = StepPlan.of(replace(RECIPE, batch_size=10, epochs=1), seed=0, images=100).learning_rates()
    assert rates.dtype == np.float32
    rise = [0.2 + 0.8 * share / 0.2 for share in (0.05, 0.15)]
    fall = [1 - 0.98 * (share - 0.2) / 0.8 for share in np.arange(0.25, 1, 0.1)]
    assert np.allclose(rates, RECIPE.learning_rate * np.array(rise + fall), atol=1e-6)


def test_learning_rates_with_adam_are_constant() -> None:
    textbook = recipes.RECIPES[RecipeName.textbook]
    rates = StepPlan.of(replace(textbook, batch_size=20, epochs=1), seed=0, images=100).learning_rates()
    assert rates.tolist() == [np.float32(1e-3)] * 5
