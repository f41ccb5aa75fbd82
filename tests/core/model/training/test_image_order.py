"""The images of each step, with and without easy images left out."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core import recipes
from tasks.core.config import RecipeName
from tasks.core.model.training.batches import augmentation
from tasks.core.model.training.batches.image_order import ImageOrder
from tasks.core.model.training.steps import StepPlan

FAST = replace(recipes.RECIPES[RecipeName.fast], batch_size=10, epochs=6)
PRUNED = replace(FAST, easy_left_out=0.5)
HARD = np.arange(100) % 4 == 0  # 25 images with a loss of 5; the others have 1, and the mean is 2


def order_of(recipe: recipes.Recipe, images: int = 100) -> ImageOrder:
    return ImageOrder(StepPlan.of(recipe, seed=3, images=images))


def told(order: ImageOrder, epochs: int, length: int = 10) -> ImageOrder:
    """The order after epochs of ten steps, in windows of at most `length`, with losses by `HARD`."""
    start = 0
    while start < 10 * epochs:
        end = order.plan.window(start, length)
        order.tell(start, end, np.where(HARD[order.rows(start, end)], 5, 1).astype(np.float32))
        start = end
    return order


def epoch_of(order: ImageOrder, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    start = epoch * 10
    return order.rows(start, start + 10).ravel(), order.draws(start, start + 10).ravel()


def test_without_a_share_to_leave_out_the_order_is_the_shuffle() -> None:
    order = told(order_of(FAST), 6)
    assert order.state == []
    for epoch in range(6):
        rows, draws = epoch_of(order, epoch)
        assert np.array_equal(rows, order.plan.shuffle.order(epoch))
        assert set(draws) == {epoch}


def test_only_the_epochs_between_the_first_two_and_the_last_leave_out_images() -> None:
    """Of 60 steps, 51 are 85 %: the sixth epoch ends after them."""
    plan = order_of(PRUNED).plan
    assert [plan.leaves_out(epoch) for epoch in range(6)] == [False, False, True, True, True, False]


def test_a_pass_has_all_hard_images_and_half_of_the_easy_ones() -> None:
    shares = []
    for epoch in (2, 3, 4):
        rows, draws = epoch_of(told(order_of(PRUNED), epoch), epoch)
        first, second = (rows[draws == draw] for draw in np.unique(draws))
        assert len(first) + len(second) == 100  # an epoch is as long as any other
        assert len(set(first)) == len(first)
        assert len(set(second)) == len(second)
        assert set(np.flatnonzero(HARD)) <= set(first)
        shares.append((len(first) - 25) / 75)
    assert 0.35 < np.mean(shares) < 0.65
    assert len(set(shares)) > 1


def test_an_image_that_is_seen_twice_in_an_epoch_is_mirrored_once() -> None:
    rows, draws = epoch_of(told(order_of(PRUNED), 2), 2)
    twice = np.flatnonzero(np.bincount(rows) == 2)
    assert len(twice) > 10
    mirrored, shifts = augmentation.draws(rows, 3, draws, 2, (32, 32, 3))
    for row in twice:
        assert mirrored[rows == row].sum() == 1
    assert any(np.ptp(shifts[rows == row], axis=0).any() for row in twice)


@pytest.mark.parametrize("length", [1, 3, 10])
def test_length_of_windows_changes_no_image(length: int) -> None:
    expected, found = (told(order_of(PRUNED), 4, windows) for windows in (4, length))
    assert np.array_equal(epoch_of(found, 4), epoch_of(expected, 4))


def test_restored_within_an_epoch_it_continues_with_the_same_images() -> None:
    order = told(order_of(PRUNED), 2)
    order.tell(20, 24, np.full((4, 10), 9, np.float32))  # what is told now counts from the next epoch on
    restored = order_of(PRUNED)
    restored.restore(order.state)
    assert np.array_equal(restored.rows(20, 30), order.rows(20, 30))
    for either in (order, restored):
        either.tell(24, 30, np.ones((6, 10), np.float32))
    assert np.array_equal(restored.rows(30, 40), order.rows(30, 40))


def test_images_that_were_never_seen_are_not_easy() -> None:
    """Of 109 images, an epoch of ten batches leaves out nine."""
    order = order_of(PRUNED, images=109)
    for epoch in (0, 1):
        start = 10 * epoch
        order.tell(start, start + 10, np.zeros((10, 10), np.float32))
    unseen = set(range(109)) - set(order.rows(0, 10).ravel()) - set(order.rows(10, 20).ravel())
    assert unseen
    assert unseen <= set(order.rows(20, 30).ravel())


def test_a_split_that_is_shuffled_in_windows_is_seen_completely() -> None:
    plan = StepPlan.of(PRUNED, 3, images=100)
    plan = replace(plan, shuffle=replace(plan.shuffle, row_bytes=12, full_shuffle_bytes=0))
    order = told(ImageOrder(plan), 2)
    assert np.array_equal(np.sort(epoch_of(order, 2)[0]), np.arange(100))
