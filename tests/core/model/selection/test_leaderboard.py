"""The leaderboard: scores over all images, and the choice inside the folds, by hand."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from tasks.core.model.selection import leaderboard

COST = {"cpu_seconds": 2.0, "wall_seconds": 1.0}


def sure(labels: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Probabilities (N, 2) of 0.9 for the label where correct, else for the other class."""
    predicted = np.where(correct, labels, 1 - labels)
    return np.where(predicted[:, None] == np.arange(2), 0.9, 0.1).astype(np.float32)


def test_row_has_accuracy_interval_and_log_loss() -> None:
    labels = (np.arange(100) % 2).astype(np.int32)
    probabilities = sure(labels, np.arange(100) < 80)
    row = leaderboard.row("probe", probabilities, labels, None, COST)
    assert row["accuracy"] == 0.8
    # Wilson by hand: (0.8 + 1.92 / 100 +- 1.96 sqrt(0.16 / 100 + 3.84 / 40000)) / 1.0384
    assert (row["low"], row["high"]) == (pytest.approx(0.7112, abs=2e-4), pytest.approx(0.8666, abs=2e-4))
    assert row["log_loss"] == pytest.approx(log_loss(labels, probabilities), abs=1e-6)
    assert row["images"] == row["groups"] == 100
    halves = leaderboard.row("probe", probabilities, labels, np.arange(100) // 2, COST)
    assert halves["groups"] == 50
    assert halves["high"] - halves["low"] > row["high"] - row["low"]


def test_a_lucky_fold_is_not_scored_by_its_own_luck() -> None:
    """In fold 0 only `a` is right, in fold 1 only `b`: each fold chooses what fails there.

    The better of the two recipes has 50 %; the choice, scored where it was not made, has 0 %.
    """
    labels = (np.arange(40) % 2).astype(np.int32)
    folds = (np.arange(40) // 20).astype(np.int8)
    predicted = {"a": sure(labels, folds == 0), "b": sure(labels, folds == 1)}
    chosen = leaderboard.choices(predicted, labels, folds)
    assert chosen == ["b", "a"]
    whole = leaderboard.of_choices(predicted, folds, chosen)
    assert (whole.argmax(axis=1) == labels).mean() == 0


def test_a_recipe_that_is_better_everywhere_is_chosen_in_each_fold() -> None:
    labels = (np.arange(60) % 2).astype(np.int32)
    folds = (np.arange(60) % 3).astype(np.int8)
    predicted = {"a": sure(labels, np.arange(60) % 10 > 4), "b": sure(labels, np.arange(60) % 10 > 0)}
    chosen = leaderboard.choices(predicted, labels, folds)
    assert chosen == ["b", "b", "b"]
    np.testing.assert_array_equal(leaderboard.of_choices(predicted, folds, chosen), predicted["b"])
    assert leaderboard.choice_of(predicted, labels, np.ones(60, bool)) == "b"
