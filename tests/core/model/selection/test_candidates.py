"""Which recipes are compared, by the number of images and the budget."""

from collections.abc import Callable

import pytest

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.model.selection import candidates
from tasks.core.model.selection.candidates import COMPARED, OVER_BUDGET, TOO_FEW
from tasks.core.stage.handles import TensorCache


def states(tensors: TensorCache, **settings: float) -> dict[str, str]:
    planned = candidates.plan(TrainSettings(RecipeName.auto, **settings), tensors)
    return {str(each.recipe): each.state for each in planned}


@pytest.mark.parametrize(
    ("train", "val", "state"),
    [
        ((5, 5), 1, TOO_FEW),  # a fifth of train is 2, and val has 2
        ((10, 10), 1, COMPARED),  # 4 and 2
        ((1, 1), 3, COMPARED),
    ],
)
def test_only_the_probe_is_trained_where_no_difference_could_be_proven(
    tensors: Callable[..., TensorCache], train: tuple[int, ...], val: int, state: str
) -> None:
    expected = {"probe": COMPARED, "finetune": state, "fast": state}
    assert states(tensors(train=train, val=val), budget=100) == expected


def test_what_is_over_the_budget_says_so(tensors: Callable[..., TensorCache]) -> None:
    found = states(tensors(), budget=1e-6)
    assert found == {"probe": COMPARED, "finetune": OVER_BUDGET, "fast": OVER_BUDGET}
