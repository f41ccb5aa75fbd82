"""The gate where mistakes have costs: the mean cost of the decisions is compared on the same test images.

The interval of the difference is the paired bootstrap (B. Efron, Annals of Statistics 7, 1979), and the test
at the level of the look is Student's t. With groups, both are those of the jackknife over groups
(`metrics/cluster.py`). The budget for the recall of a class does not apply: the costs say which mistakes may
be traded for others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import cluster, intervals
from tasks.core.metrics.intervals import Floats, Ints
from tasks.core.metrics.thresholds import operating_point


@dataclass(frozen=True)
class CostDifference:
    """Mean costs of two models on the same images.

    Args:
        challenger: Mean cost of the challenger's decisions.
        champion: Mean cost of the champion's.
        low: Lower end of the 95 % interval of challenger minus champion.
        high: Upper end.
        p_cheaper: One-sided p-value for "the challenger is not cheaper", 0..1.
    """

    challenger: float
    champion: float
    low: float
    high: float
    p_cheaper: float

    def __str__(self) -> str:
        difference = self.challenger - self.champion
        return f"{difference:+.4g} cost an image, 95 % interval {self.low:+.4g} to {self.high:+.4g}"


def compare(
    challenger: Scored, champion: Scored, rows: NDArray[np.bool_] | None = None
) -> CostDifference | None:
    """The difference of mean costs; None if no costs were given.

    Args:
        challenger: The challenger's scored test images.
        champion: The champion's, in the same order; decided with the same costs.
        rows: bool (N,), the images that can be compared; None for all.
    """
    point = challenger.operating_point
    if point is None or not point.costs:
        return None
    chosen = np.ones(len(challenger.labels), bool) if rows is None else rows
    before, after = (
        operating_point.costs_of(scored.labels[chosen], scored.predicted[chosen], point.costs)
        for scored in (champion, challenger)
    )
    groups = None if challenger.groups is None else challenger.groups[chosen]
    low, high = _interval(after - before, groups)
    p_cheaper = _p_below_zero(after - before, groups)
    return CostDifference(float(after.mean()), float(before.mean()), low, high, p_cheaper)


def _interval(differences: Floats, groups: Ints | None) -> tuple[float, float]:
    if groups is not None:
        return cluster.mean(differences, groups)
    low, high = intervals.percentiles(intervals.bootstrap_means(differences[:, None])[:, 0])
    return float(low), float(high)


def _p_below_zero(differences: Floats, groups: Ints | None) -> float:
    """One-sided p-value of Student's t for "the mean is not below 0"."""
    from scipy.special import stdtr

    units = np.arange(len(differences)) if groups is None else groups
    sums, sizes = cluster.totals(units, differences), cluster.sizes_of(units)
    error = float(np.sqrt(cluster.mean_variance(sums, sizes)))
    if not 0 < error < np.inf:
        return 1.0
    return float(stdtr(cluster.degrees(sizes), differences.mean() / error))


def rule(
    policy: PromotePolicy, costs: CostDifference, champion_version: str, margin: float, level: float
) -> tuple[bool, str]:
    """Whether to promote, and the reason.

    Args:
        policy: When to promote.
        costs: The comparison.
        champion_version: The champion's version.
        margin: For the policy not-worse: the largest increase that counts as not worse, as a share of the
            champion's mean cost, 0..1.
        level: One-sided level of the test of this look, 0..0.025.
    """
    if policy is PromotePolicy.never:
        return False, f"policy never, champion {champion_version} stays"
    if policy is PromotePolicy.always:
        return True, f"policy always, replaces champion {champion_version}"
    if costs.high < 0 and costs.p_cheaper <= level:
        return True, f"proven cheaper, replaces champion {champion_version}"
    if policy is PromotePolicy.not_worse and costs.high < margin * costs.champion:
        return True, f"proven not dearer, replaces champion {champion_version}"
    if policy is PromotePolicy.not_worse:
        return False, f"not proven not dearer, champion {champion_version} stays"
    proven = "proven dearer" if costs.low > 0 else "not proven cheaper"
    if costs.high < 0:
        proven = f"{proven} at the level of this look (p = {costs.p_cheaper:.2g} > {level:.2g})"
    return False, f"{proven}, champion {champion_version} stays"
