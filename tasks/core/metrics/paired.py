"""Paired comparison of two models on the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import intervals
from tasks.core.metrics.intervals import Floats, Ints

ALPHA = 0.05  # two-sided: an equal challenger is promoted at most 2.5 % of the time


@dataclass(frozen=True)
class PairedComparison:
    """Two models' outcomes on the same N images.

    Args:
        both, neither: Images that both, that neither has right.
        challenger, champion: Images that only this one has right.
        difference: Accuracy of the challenger minus the champion's, -1..1.
        low, high: Its 95 % interval, by the paired bootstrap.
        p_value: Of McNemar's exact test, two-sided.
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
        return self.low > 0 and self.p_value < ALPHA

    @property
    def worse(self) -> bool:
        return self.high < 0 and self.p_value < ALPHA


def compare_outcomes(
    challenger_right: NDArray[np.bool_], champion_right: NDArray[np.bool_]
) -> PairedComparison:
    """Compare outcomes, bool (N,) each, of the same images in the same order."""
    return compare_counts(
        int(np.sum(challenger_right & ~champion_right)),
        int(np.sum(champion_right & ~challenger_right)),
        both=int(np.sum(challenger_right & champion_right)),
        neither=int(np.sum(~challenger_right & ~champion_right)),
    )


def compare_counts(challenger: int, champion: int, both: int, neither: int) -> PairedComparison:
    """As `compare_outcomes`, from the numbers of images that only one, both, or neither has right."""
    from scipy.stats import binomtest  # late: scipy takes half a second that a reused stage doesn't need

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

    >>> in_words(Paired(0, 0, 0, 0, 0.0042, -0.0005, 0.0089, 0.08))
    '+0.42 points, 95 % interval -0.05 to +0.89'
    """
    low, high = outcome.low * 100, outcome.high * 100
    return f"{outcome.difference * 100:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}"


def accuracy_difference(tables: Ints) -> Floats:
    return np.asarray((tables[:, 0] - tables[:, 1]) / tables.sum(axis=1), np.float64)
