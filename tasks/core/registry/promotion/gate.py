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

from tasks.core import shares
from tasks.core.config import PromotePolicy
from tasks.core.evaluation import class_changes, cost_gate
from tasks.core.evaluation.comparable import PairedOutcomes
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


def decide(challenger: Scored, champion: Scored, classes: tuple[str, ...], terms: Terms) -> GateDecision:
    """Compare a challenger with the champion on the same test images, and decide.

    Args:
        challenger: The challenger's scored test images.
        champion: The champion's scored test images, in the same order.
        classes: Names of the classes.
        terms: The policy, the accepted losses, the look at the test set, and how the classes differ.
    """
    compared = ModelComparison.of(challenger, champion, classes, terms)
    promote, reason = _decision(compared, terms)
    facts = {
        "policy": str(terms.policy),
        "images": len(compared.outcomes.labels),
        "champion_version": terms.champion_version,
        **compared.figures(terms.budget),
        **evidence.class_facts(terms, len(compared.rows)),
        **evidence.look_facts(promote, compared, terms),
        "regressions": disagreements.listed(challenger, champion, compared.rows, won=False),
        "improvements": disagreements.listed(challenger, champion, compared.rows, won=True),
    }
    sentences = [f"{compared.difference()}: {reason}", *_remarks(compared, reason, terms)]
    return GateDecision(promote, "; ".join(filter(None, sentences)), facts)


def _decision(compared: ModelComparison, terms: Terms) -> tuple[bool, str]:
    """Whether to promote, and the reason."""
    is_always, version = terms.policy is PromotePolicy.always, terms.champion_version
    if compared.costs is None or (terms.classes.lost and not is_always):
        promote, reason = _rule(compared, terms)
    else:
        margin, level = terms.budget.margin, terms.level
        promote, reason = cost_gate.rule(terms.policy, compared.costs, version, margin, level)
    if promote and not is_always and (loss := _loss(compared, terms.budget)):
        return False, f"{loss}: champion {version} stays"
    return promote, reason


def _loss(compared: ModelComparison, budget: RegressionBudget) -> str:
    """Why a promotion would lose too much on a class or a slice, as text; empty if it would not."""
    over = slice_budget.refusal(compared.slices, budget.class_loss)
    unproven = no_loss.why_unproven(compared.largest_losses, budget.class_loss)
    return unproven or (f"but {over}" if over else "")


def _remarks(compared: ModelComparison, reason: str, terms: Terms) -> list[str]:
    """The class that loses most, the groups, and the images that were left out; each may be empty."""
    images, groups = len(compared.outcomes.labels), compared.accuracy.groups
    worst = class_changes.worst_sentence(compared.classes, terms.budget.class_loss)
    return [
        worst if worst.split(" loses ")[0] not in reason else "",
        f"{shares.counted(images, 'image')} of {shares.counted(groups, 'group')}"
        if groups is not None
        else "",
        terms.classes.sentence(images, len(compared.rows)),
    ]


def val_evidence(challenger: Scored, champion: Scored, classes: tuple[str, ...], terms: Terms) -> float:
    """Standard errors by which the challenger is above the champion, or above the margin, on the val images.

    Args:
        challenger: The challenger's scored val images.
        champion: The champion's scored val images, in the same order.
        classes: Names of the classes.
        terms: How the classes differ; the policy "not-worse" counts from the champion minus the margin.
    """
    outcomes = PairedOutcomes.of(challenger, champion, terms.classes.rows(challenger.labels, classes))
    margin = terms.budget.margin if terms.policy is PromotePolicy.not_worse else 0.0
    return paired.evidence_for(outcomes.challenger, outcomes.champion, outcomes.groups, margin)


def _rule(compared: ModelComparison, terms: Terms) -> tuple[bool, str]:
    """The same by accuracy and by recall."""
    policy, champion_version, class_loss = terms.policy, terms.champion_version, terms.budget.class_loss
    stays, replaces = f"champion {champion_version} stays", f"replaces champion {champion_version}"
    if policy is PromotePolicy.never:
        return False, f"policy never, {stays}"
    if policy is PromotePolicy.always:
        return True, f"policy always, {replaces}"
    if terms.classes.lost:
        return False, f"{stays}, because classes would be lost; a user may promote this one"
    if refusal := _why_not_proven(compared, terms):
        return False, f"{refusal}, {stays}"
    regressed = [row for row in compared.classes if row["high"] is not None and row["high"] < -class_loss]
    if regressed:
        worst = min(regressed, key=lambda row: row["high"])
        return False, (
            f"but {worst['class_name']} loses {-worst['change'] * 100:.1f} points of recall, more than the "
            f"budget of {class_loss * 100:g}: {stays}"
        )
    return (
        True,
        f"{'proven better' if compared.accuracy.better_at(terms.level) else 'proven not worse'}, {replaces}",
    )


def _why_not_proven(compared: ModelComparison, terms: Terms) -> str:
    """Why the policy's claim is not proven at the level of this look; empty if it is."""
    outcomes, accuracy, margin = compared.outcomes, compared.accuracy, terms.budget.margin
    if terms.policy is PromotePolicy.not_worse:
        p_value = paired.p_not_worse(outcomes.challenger, outcomes.champion, margin, outcomes.groups)
        claim, proven = f"not proven to lose less than {margin * 100:g} points", p_value <= terms.level
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
