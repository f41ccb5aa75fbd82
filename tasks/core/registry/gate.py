"""The gate: is the challenger shown better than the champion on the same test images?

Two tests of the same paired outcomes. McNemar's exact test (Q. McNemar, Psychometrika 12, 1947; exact form
recommended for a pair of fixed models by T. Dietterich, Neural Computation 10, 1998) asks whether the
images that only one of the two has right split evenly. The paired bootstrap gives the interval of the
difference of accuracies. A challenger is better if both say so.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import intervals, paired
from tasks.core.metrics.paired import ALPHA, PairedComparison

MAX_LISTED = 48  # images listed each way in the evidence; the predictions table has them all


@dataclass(frozen=True)
class RegressionBudget:
    """What a promotion may cost.

    Args:
        margin: not-worse: largest loss of accuracy that still counts as not worse, 0..1.
        class_loss: Largest proven loss of a class's recall, 0..1: the lower bound of the loss must stay
            below it.
    """

    margin: float = 0.005
    class_loss: float = 0.05


@dataclass(frozen=True)
class GateDecision:
    """What the gate says.

    Args:
        promote: Whether the challenger shall be champion.
        verdict: In words.
        evidence: The figures; JSON values.
    """

    promote: bool
    verdict: str
    evidence: dict[str, Any]


def decide(
    policy: PromotePolicy,
    challenger: Scored,
    champion: Scored,
    classes: tuple[str, ...],
    name: str,
    budget: RegressionBudget | None = None,
) -> GateDecision:
    """Hold a challenger against the champion on the same test images.

    Args:
        policy: When to promote.
        challenger, champion: Their scored test images, in the same order.
        classes: Names of the classes.
        name: The champion's version, for the verdict.
        budget: What a promotion may cost; the default if None.
    """
    budget = budget or RegressionBudget()
    right = challenger.predicted == challenger.labels
    right_before = champion.predicted == champion.labels
    outcome = paired.compare_outcomes(right, right_before)
    changes = class_changes(challenger.labels, right, right_before, classes)
    spent = [row for row in changes if row["high"] is not None and row["high"] < -budget.class_loss]
    promote, reason = _rule(policy, outcome, spent, name, budget)
    evidence = {
        "policy": str(policy),
        "images": len(right),
        "champion_version": name,
        "challenger_accuracy": float(right.mean()),
        "champion_accuracy": float(right_before.mean()),
        "paired": asdict(outcome),
        "budget": asdict(budget),
        "classes": changes,
        "regressions": disagreements(challenger, champion, right_before & ~right),
        "improvements": disagreements(challenger, champion, right & ~right_before),
    }
    return GateDecision(promote, f"{paired.difference_text(outcome)}: {reason}", evidence)


def class_changes(
    labels: NDArray[np.integer],
    right: NDArray[np.bool_],
    right_before: NDArray[np.bool_],
    classes: tuple[str, ...],
) -> list[dict[str, Any]]:
    """Change of each class's recall with its paired bootstrap interval at 95 % for all classes together.

    The level is Bonferroni's, 5 % shared by the classes: with a hundred classes, some would otherwise
    seem to lose by chance. A class without images has null figures.
    """
    rows = []
    for label, name in enumerate(classes):
        own = labels == label
        won, lost = int(np.sum(own & right & ~right_before)), int(np.sum(own & right_before & ~right))
        count = int(own.sum())
        low, high = _class_interval(won, lost, count, ALPHA / len(classes)) if count else (None, None)
        change = (won - lost) / count if count else None
        rows.append({"class_name": name, "images": count, "change": change, "low": low, "high": high})
    return rows


def disagreements(challenger: Scored, champion: Scored, chosen: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Images on which exactly one of the two is right, the surest mistakes first, at most `MAX_LISTED`.

    Returns:
        For each: row in the test tensors, label, and each model's predicted class and its probability.
    """
    rows = np.flatnonzero(chosen)
    sure = np.maximum(challenger.probabilities[rows].max(axis=1), champion.probabilities[rows].max(axis=1))
    order = rows[np.argsort(-sure, kind="stable")][:MAX_LISTED]
    return [
        {
            "row": int(row),
            "label": int(challenger.labels[row]),
            "challenger": int(challenger.predicted[row]),
            "challenger_probability": float(challenger.probabilities[row].max()),
            "champion": int(champion.predicted[row]),
            "champion_probability": float(champion.probabilities[row].max()),
        }
        for row in order
    ]


def _class_interval(won: int, lost: int, count: int, alpha: float) -> tuple[float, float]:
    resampled = intervals.bootstrap_table(
        np.array([won, lost, count - won - lost]), paired.accuracy_difference
    )
    low, high = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def _rule(
    policy: PromotePolicy,
    outcome: PairedComparison,
    spent: list[dict[str, Any]],
    name: str,
    budget: RegressionBudget,
) -> tuple[bool, str]:
    if policy is PromotePolicy.never:
        return False, f"policy never, champion {name} stays"
    if policy is PromotePolicy.always:
        return True, f"policy always, replaces champion {name}"
    if policy is PromotePolicy.better and not outcome.better:
        proven = "proven worse" if outcome.worse else "not proven better"
        return False, f"{proven}, champion {name} stays"
    if policy is PromotePolicy.not_worse and outcome.low <= -budget.margin:
        margin = f"{budget.margin * 100:g}"
        return False, f"not proven to lose less than {margin} points, champion {name} stays"
    if spent:
        worst = min(spent, key=lambda row: row["high"])
        return False, (
            f"but {worst['class_name']} loses {-worst['change'] * 100:.1f} points of recall, more than the "
            f"budget of {budget.class_loss * 100:g}: champion {name} stays"
        )
    proven = "proven better" if outcome.better else "proven not worse"
    return True, f"{proven}, replaces champion {name}"
