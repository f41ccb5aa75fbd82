"""The table of a sweep's configurations."""

import pandas as pd
import pytest

from tasks.core.sweep import ranking


def test_the_interval_over_two_seeds_stays_within_what_an_accuracy_can_be() -> None:
    trials = pd.DataFrame(
        {
            "trial": [1, 2],
            "configuration": 1,
            "varied": "epochs=2",
            "images": 31,
            "val_accuracy": [22 / 31, 28 / 31],
            "val_loss": 0.4,
        }
    )
    row = ranking.leaderboard(trials).iloc[0]
    assert (row["low"], row["high"]) == (0, 1)  # Student's t with one degree of freedom: -0.42 to 2.04
    assert row["mean"] == pytest.approx(25 / 31)
