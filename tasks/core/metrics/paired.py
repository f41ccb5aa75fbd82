"""Paired comparison of two models on the same images.

Sources: exact test: Q. McNemar, Psychometrika 12, 1947; its exact form for a pair of fixed models:
T. Dietterich, Neural Computation 10, 1998.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import intervals
from tasks.core.metrics.intervals import Floats, Ints

ALPHA = 0.05  # two-sided: an equal challenger is promoted at most 2.5 % of the time


@dataclass(frozen=True)
class PairedComparison:
    """The outcomes of two models on the same N images.

    Args:
        both: Number of images that both models predict correctly.
        neither: Number of images that neither model predicts correctly.
        challenger: Number of images that only the challenger predicts correctly.
        champion: Number of images that only the champion predicts correctly.
        difference: Accuracy of the challenger minus the accuracy of the champion, -1..1.
        low: Lower end of its 95 % interval by the paired bootstrap.
        high: Upper end of that interval.
        p_value: Two-sided p-value of McNemar's exact test, 0..1.
    """

    both: int
    neither: int
    challenger: int
    champion: int
    difference: float
    low: float
    high: float
    p_value: float

    @property
    def better(self) -> bool:
        """Whether the challenger is proven better by both tests."""
        return self.low > 0 and self.p_value < ALPHA

    @property
    def worse(self) -> bool:
        """Whether the challenger is proven worse by both tests."""
        return self.high < 0 and self.p_value < ALPHA


def compare_outcomes(
    challenger_correct: NDArray[np.bool_], champion_correct: NDArray[np.bool_]
) -> PairedComparison:
    """Compare two models by their outcomes on the same images in the same order.

    Args:
        challenger_correct: bool (N,), whether each prediction of the challenger is correct.
        champion_correct: bool (N,), whether each prediction of the champion is correct.
    """
    return compare_counts(
        int(np.sum(challenger_correct & ~champion_correct)),
        int(np.sum(champion_correct & ~challenger_correct)),
        both=int(np.sum(challenger_correct & champion_correct)),
        neither=int(np.sum(~challenger_correct & ~champion_correct)),
    )


def compare_counts(challenger: int, champion: int, both: int, neither: int) -> PairedComparison:
    """The same comparison as `compare_outcomes`, from counts of images.

    Args:
        challenger: Number of images that only the challenger predicts correctly.
        champion: Number of images that only the champion predicts correctly.
        both: Number of images that both predict correctly.
        neither: Number of images that neither predicts correctly.
    """
    from scipy.stats import binomtest  # imported here: scipy takes 0.5 s, and a reused stage needs none of it

    discordant, count = challenger + champion, challenger + champion + both + neither
    table = np.array([challenger, champion, both + neither])
    low, high = intervals.percentiles(intervals.bootstrap_table(table, accuracy_difference))
    return PairedComparison(
        both=both,
        neither=neither,
        challenger=challenger,
        champion=champion,
        difference=(challenger - champion) / count,
        low=float(low),
        high=float(high),
        p_value=float(binomtest(challenger, discordant).pvalue) if discordant else 1.0,
    )


def difference_text(outcome: PairedComparison) -> str:
    """The difference in percentage points with its interval.

    >>> difference_text(PairedComparison(0, 0, 0, 0, 0.0042, -0.0005, 0.0089, 0.08))
    '+0.42 points, 95 % interval -0.05 to +0.89'
    """
    low, high = outcome.low * 100, outcome.high * 100
    return f"{outcome.difference * 100:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}"


def accuracy_difference(tables: Ints) -> Floats:
    """Difference of accuracies of each table.

    Args:
        tables: int64 (B, 3): images that only the first model, only the second, and both or neither predict
            correctly.

    Returns:
        float64 (B,), -1..1.
    """
    return np.asarray((tables[:, 0] - tables[:, 1]) / tables.sum(axis=1), np.float64)
