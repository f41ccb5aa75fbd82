"""The gate where mistakes have costs: the mean cost of the decisions is compared on the same test images.

The interval of the difference is the paired bootstrap (B. Efron, Annals of Statistics 7, 1979). The budget
for the recall of a class does not apply: the costs say which mistakes may be traded for others.
"""

from dataclasses import dataclass

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import intervals, operating_point


@dataclass(frozen=True)
class CostDifference:
    """Mean costs of two models on the same images.

    Args:
        challenger: Mean cost of the challenger's decisions.
        champion: Mean cost of the champion's.
        low: Lower end of the 95 % interval of challenger minus champion.
        high: Upper end.
    """

    challenger: float
    champion: float
    low: float
    high: float

    def __str__(self) -> str:
        difference = self.challenger - self.champion
        return f"{difference:+.4g} cost an image, 95 % interval {self.low:+.4g} to {self.high:+.4g}"


def compare(challenger: Scored, champion: Scored) -> CostDifference | None:
    """The difference of mean costs; None if no costs were given.

    Args:
        challenger: The challenger's scored test images.
        champion: The champion's, in the same order; decided with the same costs.
    """
    point = challenger.operating_point
    if point is None or not point.costs:
        return None
    before, after = (
        operating_point.costs_of(scored.labels, scored.predicted, point.costs)
        for scored in (champion, challenger)
    )
    low, high = intervals.percentiles(intervals.bootstrap_means((after - before)[:, None])[:, 0])
    return CostDifference(float(after.mean()), float(before.mean()), float(low), float(high))


def rule(
    policy: PromotePolicy, costs: CostDifference, champion_version: str, margin: float
) -> tuple[bool, str]:
    """Whether to promote, and the reason.

    Args:
        policy: When to promote.
        costs: The comparison.
        champion_version: The champion's version.
        margin: For the policy not-worse: the largest increase that counts as not worse, as a share of the
            champion's mean cost, 0..1.
    """
    if policy is PromotePolicy.never:
        return False, f"policy never, champion {champion_version} stays"
    if policy is PromotePolicy.always:
        return True, f"policy always, replaces champion {champion_version}"
    if costs.high < 0:
        return True, f"proven cheaper, replaces champion {champion_version}"
    if policy is PromotePolicy.not_worse and costs.high < margin * costs.champion:
        return True, f"proven not dearer, replaces champion {champion_version}"
    if policy is PromotePolicy.not_worse:
        return False, f"not proven not dearer, champion {champion_version} stays"
    proven = "proven dearer" if costs.low > 0 else "not proven cheaper"
    return False, f"{proven}, champion {champion_version} stays"
