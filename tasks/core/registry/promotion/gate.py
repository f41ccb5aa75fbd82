"""The gate: decides whether the challenger is proven better than the champion on the same test images.

It uses two tests of the paired outcomes. McNemar's exact test (Q. McNemar, Psychometrika 12, 1947; T.
Dietterich, Neural Computation 10, 1998, recommends the exact form for a pair of fixed models) tests whether
the images that only one of the two models predicts correctly split evenly. The paired bootstrap gives the
interval of the difference in accuracy. A challenger is better if both tests agree. Where images have groups,
both treat each group as one (`metrics/cluster.py`). The level of the test comes from `error_budget`. Each
model decides at its own operating point for what is asked now; where mistakes have costs, the mean costs are
compared (`cost_gate`).
"""

from dataclasses import dataclass
from math import ceil, log2
from typing import Any

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import class_changes, cost_gate
from tasks.core.evaluation.comparable import ClassDifference, PairedOutcomes
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics.comparison import paired
from tasks.core.metrics.comparison.paired import ALPHA, PairedComparison
from tasks.core.registry.promotion import disagreements, evidence, no_loss, slice_budget
from tasks.core.registry.promotion.evidence import ModelComparison
from tasks.core.registry.promotion.terms import RegressionBudget, Terms


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
    terms: Terms | None = None,
) -> GateDecision:
    """Compare a challenger with the champion on the same test images, and decide.

    Args:
        policy: When to promote.
        challenger: The challenger's scored test images.
        champion: The champion's scored test images, in the same order.
        classes: Names of the classes.
        champion_version: The champion's version, for the verdict.
        budget: The losses that a promotion may cause; None means the defaults.
        terms: The look at the test set, and how the classes differ; None means a single comparison of models
            of the same classes.
    """
    budget, terms = budget or RegressionBudget(), terms or Terms()
    compared = ModelComparison.of(challenger, champion, classes, budget, terms)
    promote, reason = _decision(policy, compared, champion_version, budget, terms)
    facts = {
        "policy": str(policy),
        "images": len(compared.outcomes.labels),
        "champion_version": champion_version,
        **compared.figures(budget),
        **evidence.class_facts(terms, len(compared.rows)),
        **evidence.look_facts(policy, promote, compared, budget, terms),
        "regressions": disagreements.listed(challenger, champion, compared.rows, won=False),
        "improvements": disagreements.listed(challenger, champion, compared.rows, won=True),
    }
    sentences = [f"{compared.difference()}: {reason}", *_remarks(compared, reason, budget, terms)]
    return GateDecision(promote, "; ".join(filter(None, sentences)), facts)


def _decision(
    policy: PromotePolicy,
    compared: ModelComparison,
    champion_version: str,
    budget: RegressionBudget,
    terms: Terms,
) -> tuple[bool, str]:
    """Whether to promote, and the reason."""
    if compared.costs is None or (terms.classes.lost and policy is not PromotePolicy.always):
        promote, reason = _rule(policy, compared, champion_version, budget, terms)
    else:
        promote, reason = cost_gate.rule(policy, compared.costs, champion_version, budget.margin, terms.level)
    if promote and policy is not PromotePolicy.always and (loss := _loss(compared, budget)):
        return False, f"{loss}: champion {champion_version} stays"
    return promote, reason


def _loss(compared: ModelComparison, budget: RegressionBudget) -> str:
    """Why a promotion would lose too much on a class or a slice, as text; empty if it would not."""
    over = slice_budget.refusal(compared.slices, budget.class_loss)
    unproven = no_loss.why_unproven(compared.largest_losses, budget.class_loss)
    return unproven or (f"but {over}" if over else "")


def _remarks(compared: ModelComparison, reason: str, budget: RegressionBudget, terms: Terms) -> list[str]:
    """The class that loses most, the groups, and the images that were left out; each may be empty."""
    images, groups = len(compared.outcomes.labels), compared.accuracy.groups
    worst = class_changes.worst_sentence(compared.classes, budget.class_loss)
    return [
        worst if worst.split(" loses ")[0] not in reason else "",
        f"{images:,} images of {groups:,} groups" if groups is not None else "",
        terms.classes.sentence(images, len(compared.rows)),
    ]


def val_evidence(
    policy: PromotePolicy,
    challenger: Scored,
    champion: Scored,
    classes: tuple[str, ...],
    difference: ClassDifference,
    budget: RegressionBudget | None = None,
) -> float:
    """Standard errors by which the challenger is above the champion, or above the margin, on the val images.

    Args:
        policy: "not-worse" counts from the champion minus the margin.
        challenger: The challenger's scored val images.
        champion: The champion's scored val images, in the same order.
        classes: Names of the classes.
        difference: How the two models' classes differ.
        budget: The losses that a promotion may cause; None means the defaults.
    """
    outcomes = PairedOutcomes.of(challenger, champion, difference.rows(challenger.labels, classes))
    margin = (budget or RegressionBudget()).margin if policy is PromotePolicy.not_worse else 0.0
    return paired.evidence_for(outcomes.challenger, outcomes.champion, outcomes.groups, margin)


def _rule(
    policy: PromotePolicy,
    compared: ModelComparison,
    champion_version: str,
    budget: RegressionBudget,
    terms: Terms,
) -> tuple[bool, str]:
    """The same by accuracy and by recall."""
    stays, replaces = f"champion {champion_version} stays", f"replaces champion {champion_version}"
    if policy is PromotePolicy.never:
        return False, f"policy never, {stays}"
    if policy is PromotePolicy.always:
        return True, f"policy always, {replaces}"
    if terms.classes.lost:
        return False, f"{stays}, because classes would be lost; a user may promote this one"
    if refusal := _why_not_proven(policy, compared, budget, terms):
        return False, f"{refusal}, {stays}"
    regressed = [
        row for row in compared.classes if row["high"] is not None and row["high"] < -budget.class_loss
    ]
    if regressed:
        worst = min(regressed, key=lambda row: row["high"])
        return False, (
            f"but {worst['class_name']} loses {-worst['change'] * 100:.1f} points of recall, more than the "
            f"budget of {budget.class_loss * 100:g}: {stays}"
        )
    return (
        True,
        f"{'proven better' if compared.accuracy.better_at(terms.level) else 'proven not worse'}, {replaces}",
    )


def _why_not_proven(
    policy: PromotePolicy, compared: ModelComparison, budget: RegressionBudget, terms: Terms
) -> str:
    """Why the policy's claim is not proven at the level of this look; empty if it is."""
    outcomes, accuracy = compared.outcomes, compared.accuracy
    if policy is PromotePolicy.not_worse:
        p_value = paired.p_not_worse(outcomes.challenger, outcomes.champion, budget.margin, outcomes.groups)
        claim, proven = f"not proven to lose less than {budget.margin * 100:g} points", p_value <= terms.level
    else:
        p_value, claim, proven = accuracy.p_better, "not proven better", accuracy.better_at(terms.level)
        if accuracy.worse:
            return "proven worse"
        if too_few := _too_few(accuracy, terms.level):
            return f"{claim}: {too_few}"
    if proven:
        return ""
    if terms.look is not None and p_value <= ALPHA / 2:
        return f"{claim} at the level of look {terms.look.number} (p = {p_value:.2g} > {terms.level:.2g})"
    return claim


def _too_few(accuracy: PairedComparison, level: float) -> str:
    """That so few differences cannot pass the test, whatever they are, as text; empty if they can."""
    needed = ceil(-log2(level))  # all of them won have a probability of 1 in 2 ** needed
    if accuracy.groups_differ is not None:
        found, unit = accuracy.groups_differ, "group"
    else:
        found, unit = accuracy.challenger + accuracy.champion, "image"
    if found >= needed or not found:
        return ""
    differ = f"{found} {unit}{' differs' if found == 1 else 's differ'}"
    return f"only {differ}, and with fewer than {needed} no test can prove anything"
