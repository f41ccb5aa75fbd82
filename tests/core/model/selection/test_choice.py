"""Which candidate is chosen, on counts worked out by hand."""

import numpy as np
import pytest

from tasks.core.model.selection.choice import best


def outcomes(correct: int, images: int) -> np.ndarray:
    return np.arange(images) < correct


@pytest.mark.parametrize(
    ("correct", "log_losses", "expected"),
    [
        # The difference is 2 of 100; its standard error is sqrt(0.02 - 0.0004) / 10 = 0.014: not near.
        pytest.param({"probe": 92, "finetune": 90}, {"probe": 0.3, "finetune": 0.2}, "probe", id="far"),
        # The difference is 1 of 100; its standard error is sqrt(0.01 - 0.0001) / 10 = 0.00995: not near.
        pytest.param({"probe": 92, "finetune": 91}, {"probe": 0.3, "finetune": 0.2}, "probe", id="just far"),
        pytest.param({"probe": 92, "finetune": 92}, {"probe": 0.3, "finetune": 0.2}, "finetune", id="equal"),
        pytest.param({"probe": 92, "finetune": 92}, {"probe": 0.2, "finetune": 0.2}, "probe", id="first"),
        pytest.param({"probe": 50}, {"probe": 0.9}, "probe", id="alone"),
    ],
)
def test_best_is_the_lowest_loss_near_the_highest_accuracy(
    correct: dict[str, int], log_losses: dict[str, float], expected: str
) -> None:
    assert best({name: outcomes(count, 100) for name, count in correct.items()}, log_losses) == expected


def test_best_models_that_disagree_are_near() -> None:
    """A is right on 20 images that B gets wrong, and B on 17 others: 3 +- sqrt(0.37 - 0.0009) * 10 = 6.1."""
    one, other = np.ones(100, bool), np.ones(100, bool)
    other[:20] = False
    one[20:37] = False
    assert one.sum() - other.sum() == 3
    assert best({"a": one, "b": other}, {"a": 0.5, "b": 0.4}) == "b"
