"""Paired comparison of two models on the same images.

Sources: exact test: Q. McNemar, Psychometrika 12, 1947; its exact form for a pair of fixed models:
T. Dietterich, Neural Computation 10, 1998. Not worse than a margin: T. Tango, "Equivalence test and
confidence interval for the difference in proportions for the paired-sample design", Statistics in Medicine
17, 1998. Images in groups: see `cluster`.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import cluster, intervals
from tasks.core.metrics.comparison import binomial
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
        p_better: One-sided p-value of the same test for "the challenger is not better", 0..1.
        groups: Number of groups of these images; None if each image is by itself. With groups, the tests flip
            whole groups, and the interval is that of the jackknife over groups.
        groups_differ: Number of groups with a difference; None without groups.
    """

    both: int
    neither: int
    challenger: int
    champion: int
    difference: float
    low: float
    high: float
    p_value: float
    p_better: float = 1.0
    groups: int | None = None
    groups_differ: int | None = None

    def better_at(self, level: float) -> bool:
        """Whether the challenger is proven better by both tests, at a one-sided level of at most 2.5 %."""
        return self.low > 0 and self.p_better <= level

    @property
    def better(self) -> bool:
        """Whether the challenger is proven better by both tests."""
        return self.low > 0 and self.p_value < ALPHA

    @property
    def worse(self) -> bool:
        """Whether the challenger is proven worse by both tests."""
        return self.high < 0 and self.p_value < ALPHA


def compare_outcomes(
    challenger_correct: NDArray[np.bool_],
    champion_correct: NDArray[np.bool_],
    groups: Ints | None = None,
) -> PairedComparison:
    """Compare two models by their outcomes on the same images in the same order.

    Args:
        challenger_correct: bool (N,), whether each prediction of the challenger is correct.
        champion_correct: bool (N,), whether each prediction of the champion is correct.
        groups: int64 (N,), which images belong together; None if each is by itself.
    """
    outcome = compare_counts(
        int(np.sum(challenger_correct & ~champion_correct)),
        int(np.sum(champion_correct & ~challenger_correct)),
        both=int(np.sum(challenger_correct & champion_correct)),
        neither=int(np.sum(~challenger_correct & ~champion_correct)),
    )
    return outcome if groups is None else _by_groups(outcome, challenger_correct, champion_correct, groups)


def compare_counts(challenger: int, champion: int, both: int, neither: int) -> PairedComparison:
    """The same comparison as `compare_outcomes`, from counts of images.

    Args:
        challenger: Number of images that only the challenger predicts correctly.
        champion: Number of images that only the champion predicts correctly.
        both: Number of images that both predict correctly.
        neither: Number of images that neither predicts correctly.
    """
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
        p_value=binomial.fair(challenger, champion),
        p_better=float(binomial.at_least(challenger, discordant, 0.5)),
    )


def differences(challenger_correct: NDArray[np.bool_], champion_correct: NDArray[np.bool_]) -> Floats:
    """Won minus lost of each image, float64 (N,): -1, 0 or 1."""
    return challenger_correct.astype(np.float64) - champion_correct


def evidence_for(
    challenger_correct: NDArray[np.bool_],
    champion_correct: NDArray[np.bool_],
    groups: Ints | None = None,
    margin: float = 0.0,
) -> float:
    """Standard errors by which the challenger is above the champion minus a margin; 0 if nothing differs.

    Args:
        challenger_correct: bool (N,), whether each prediction of the challenger is correct.
        champion_correct: bool (N,), whether each prediction of the champion is correct.
        groups: int64 (N,), which images belong together; None if each is by itself.
        margin: Of accuracy, 0..1.
    """
    per_image = differences(challenger_correct, champion_correct)
    sums = per_image if groups is None else cluster.totals(groups, per_image)
    if not sums.any():
        return 0.0
    return float((sums.sum() + margin * len(per_image)) / np.sqrt(np.square(sums).sum()))


def p_not_worse(
    challenger_correct: NDArray[np.bool_],
    champion_correct: NDArray[np.bool_],
    margin: float,
    groups: Ints | None = None,
) -> float:
    """One-sided p-value for "the challenger loses at least `margin` of accuracy", 0..1.

    Tango's score test; with groups, Student's t of the jackknife over groups.

    Args:
        challenger_correct: bool (N,), whether each prediction of the challenger is correct.
        champion_correct: bool (N,), whether each prediction of the champion is correct.
        margin: 0..1, above 0.
        groups: int64 (N,), which images belong together; None if each is by itself.
    """
    from scipy.special import ndtr, stdtr

    per_image = differences(challenger_correct, champion_correct)
    n, b, c = len(per_image), float(np.sum(per_image > 0)), float(np.sum(per_image < 0))
    if groups is not None:
        sums, sizes = cluster.totals(groups, per_image), cluster.sizes_of(groups)
        error = cluster.mean_error(sums, sizes)
        return (
            float(stdtr(cluster.degrees(sizes), -((b - c) / n + margin) / error)) if error < np.inf else 1.0
        )
    # The share that only the champion has right, if the difference were -margin: a root of A q^2 + B q + C.
    quadratic, linear = 2 * n, -b - c - (2 * n - b + c) * margin
    constant = c * margin * (1 + margin)
    share = (np.sqrt(linear**2 - 4 * quadratic * constant) - linear) / (2 * quadratic)
    variance = n * (2 * share - margin * (1 + margin))
    return float(ndtr(-(b - c + n * margin) / np.sqrt(variance))) if variance > 0 else 1.0


def _by_groups(
    outcome: PairedComparison,
    challenger_correct: NDArray[np.bool_],
    champion_correct: NDArray[np.bool_],
    groups: Ints,
) -> PairedComparison:
    """The comparison with the interval and the p-values of whole groups."""
    sums = cluster.totals(groups, differences(challenger_correct, champion_correct))
    sizes = cluster.sizes_of(groups)
    low, high = cluster.difference(sums, sizes)
    better, worse = cluster.flip_p_value(sums), cluster.flip_p_value(-sums)
    return replace(
        outcome,
        low=low,
        high=high,
        p_value=min(1.0, 2 * min(better, worse)),
        p_better=better,
        groups=len(sums),
        groups_differ=int(np.count_nonzero(sums)),
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
