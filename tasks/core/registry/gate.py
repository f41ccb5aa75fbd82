"""The gate: decides whether the challenger is proven better than the champion on the same test images.

It uses two tests of the paired outcomes. McNemar's exact test (Q. McNemar, Psychometrika 12, 1947; T.
Dietterich, Neural Computation 10, 1998, recommends the exact form for a pair of fixed models) tests whether
the images that only one of the two models predicts correctly split evenly. The paired bootstrap gives the
interval of the difference in accuracy. A challenger is better if both tests agree. Each model decides at its
own operating point for what is asked now; where mistakes have costs, the mean costs are compared
(`cost_gate`).
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import cost_gate
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import intervals, paired
from tasks.core.metrics.paired import ALPHA, PairedComparison

MAX_LISTED = 48  # images per list in the evidence; the predictions table has all of them


@dataclass(frozen=True)
class RegressionBudget:
    """The losses that a promotion may cause.

    Args:
        margin: For the policy not-worse: the largest loss of accuracy that still counts as not worse, 0..1.
        class_loss: The largest accepted loss of a class's recall, 0..1; the lower bound of the loss must not
            exceed it.
    """

    margin: float = 0.005
    class_loss: float = 0.05


@dataclass(frozen=True)
class GateDecision:
    """The decision of the gate.

    Args:
        promote: Whether the challenger becomes champion.
        verdict: The decision as text.
        evidence: The figures behind it; JSON values.
    """

    promote: bool
    verdict: str
    evidence: dict[str, Any]


def decide(
    policy: PromotePolicy,
    challenger: Scored,
    champion: Scored,
    classes: tuple[str, ...],
    champion_version: str,
    budget: RegressionBudget | None = None,
) -> GateDecision:
    """Compare a challenger with the champion on the same test images, and decide.

    Args:
        policy: When to promote.
        challenger: The challenger's scored test images.
        champion: The champion's scored test images, in the same order.
        classes: Names of the classes.
        champion_version: The champion's version, for the verdict.
        budget: The losses that a promotion may cause; None means the defaults.
    """
    budget = budget or RegressionBudget()
    challenger_correct = challenger.predicted == challenger.labels
    champion_correct = champion.predicted == champion.labels
    outcome = paired.compare_outcomes(challenger_correct, champion_correct)
    changes = class_changes(challenger.labels, challenger_correct, champion_correct, classes)
    regressed_classes = [
        row for row in changes if row["high"] is not None and row["high"] < -budget.class_loss
    ]
    promote, reason = _rule(policy, outcome, regressed_classes, champion_version, budget)
    difference = paired.difference_text(outcome)
    costs = cost_gate.compare(challenger, champion)
    if costs is not None:
        promote, reason = cost_gate.rule(policy, costs, champion_version, budget.margin)
        difference = str(costs)
    evidence = {
        "policy": str(policy),
        "images": len(challenger_correct),
        "champion_version": champion_version,
        "challenger_accuracy": float(challenger_correct.mean()),
        "champion_accuracy": float(champion_correct.mean()),
        "paired": asdict(outcome),
        **({} if costs is None else {"costs": asdict(costs)}),
        "budget": asdict(budget),
        "classes": changes,
        "regressions": disagreements(challenger, champion, champion_correct & ~challenger_correct),
        "improvements": disagreements(challenger, champion, challenger_correct & ~champion_correct),
    }
    return GateDecision(promote, f"{difference}: {reason}", evidence)


def class_changes(
    labels: NDArray[np.integer],
    challenger_correct: NDArray[np.bool_],
    champion_correct: NDArray[np.bool_],
    classes: tuple[str, ...],
) -> list[dict[str, Any]]:
    """The change of each class's recall, with paired bootstrap intervals at a joint level of 95 %.

    By Bonferroni's method the classes share the error probability of 5 %. Without it, some of a hundred
    classes would seem to lose by chance.

    Args:
        labels: Integers (N,), 0..C-1.
        challenger_correct: bool (N,), whether each prediction of the challenger is correct.
        champion_correct: bool (N,), whether each prediction of the champion is correct.
        classes: Names of the C classes.

    Returns:
        One dictionary per class: class_name, images, change (-1..1), low, high; the last three are None for a
        class without images.
    """
    rows = []
    for label, name in enumerate(classes):
        in_class = labels == label
        won = int(np.sum(in_class & challenger_correct & ~champion_correct))
        lost = int(np.sum(in_class & champion_correct & ~challenger_correct))
        count = int(in_class.sum())
        low, high = _class_interval(won, lost, count, ALPHA / len(classes)) if count else (None, None)
        change = (won - lost) / count if count else None
        rows.append({"class_name": name, "images": count, "change": change, "low": low, "high": high})
    return rows


def disagreements(challenger: Scored, champion: Scored, selected: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Images that exactly one of the two models predicts correctly, most confident mistakes first.

    Args:
        challenger: The challenger's scored test images.
        champion: The champion's scored test images, in the same order.
        selected: bool (N,), the images to list.

    Returns:
        At most `MAX_LISTED` dictionaries: row in the test tensors, label, and the predicted class of each
        model with its probability.
    """
    rows = np.flatnonzero(selected)
    confidence = np.maximum(challenger.confidence[rows], champion.confidence[rows])
    order = rows[np.argsort(-confidence, kind="stable")][:MAX_LISTED]
    return [
        {
            "row": int(row),
            "label": int(challenger.labels[row]),
            "challenger": int(challenger.predicted[row]),
            "challenger_probability": float(challenger.confidence[row]),
            "champion": int(champion.predicted[row]),
            "champion_probability": float(champion.confidence[row]),
        }
        for row in order
    ]


def _class_interval(won: int, lost: int, count: int, alpha: float) -> tuple[float, float]:
    """Bootstrap interval of (won - lost) / count at the level 1 - alpha."""
    resampled = intervals.bootstrap_table(
        np.array([won, lost, count - won - lost]), paired.accuracy_difference
    )
    low, high = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def _rule(
    policy: PromotePolicy,
    outcome: PairedComparison,
    regressed_classes: list[dict[str, Any]],
    champion_version: str,
    budget: RegressionBudget,
) -> tuple[bool, str]:
    """Whether to promote, and the reason."""
    if policy is PromotePolicy.never:
        return False, f"policy never, champion {champion_version} stays"
    if policy is PromotePolicy.always:
        return True, f"policy always, replaces champion {champion_version}"
    if policy is PromotePolicy.better and not outcome.better:
        proven = "proven worse" if outcome.worse else "not proven better"
        return False, f"{proven}, champion {champion_version} stays"
    if policy is PromotePolicy.not_worse and outcome.low <= -budget.margin:
        margin = f"{budget.margin * 100:g}"
        return False, f"not proven to lose less than {margin} points, champion {champion_version} stays"
    if regressed_classes:
        worst = min(regressed_classes, key=lambda row: row["high"])
        return False, (
            f"but {worst['class_name']} loses {-worst['change'] * 100:.1f} points of recall, more than the "
            f"budget of {budget.class_loss * 100:g}: champion {champion_version} stays"
        )
    proven = "proven better" if outcome.better else "proven not worse"
    return True, f"{proven}, replaces champion {champion_version}"
