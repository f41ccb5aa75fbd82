"""The gate: decides whether the challenger is proven better than the champion on the same test images.

It uses two tests of the paired outcomes. McNemar's exact test (Q. McNemar, Psychometrika 12, 1947; T.
Dietterich, Neural Computation 10, 1998, recommends the exact form for a pair of fixed models) tests whether
the images that only one of the two models predicts correctly split evenly. The paired bootstrap gives the
interval of the difference in accuracy. A challenger is better if both tests agree. Where images have groups,
both treat each group as one (`metrics/cluster.py`). The level of the test comes from `error_budget`. Each
model decides at its own operating point for what is asked now; where mistakes have costs, the mean costs are
compared (`cost_gate`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil, log2
from typing import Any

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import class_changes, cost_gate
from tasks.core.evaluation.comparable import ClassDifference, Duel
from tasks.core.evaluation.evaluate import Scored
from tasks.core.evaluation.slices.values import Attribute
from tasks.core.metrics.comparison import paired, selection_bias
from tasks.core.metrics.comparison.paired import ALPHA, PairedComparison
from tasks.core.registry.promotion import disagreements, no_loss, slice_budget
from tasks.core.registry.promotion.error_budget import Look


@dataclass(frozen=True)
class RegressionBudget:
    """The losses that a promotion may cause.

    Args:
        margin: For the policy not-worse: the largest loss of accuracy that still counts as not worse, 0..1.
        class_loss: The largest accepted loss of a class's recall, 0..1; the lower bound of the loss must not
            exceed it. Also the largest loss of accuracy on a slice of `no_worse_in`.
        no_loss_of: Classes whose loss has to be proven to stay within `class_loss`, see `no_loss`.
        no_worse_in: Columns of the data whose slices must not lose.
    """

    margin: float = 0.005
    class_loss: float = 0.05
    no_loss_of: tuple[str, ...] = ()
    no_worse_in: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """The budget as JSON values."""
        asked = {"no_loss_of": list(self.no_loss_of), "no_worse_in": list(self.no_worse_in)}
        return {"margin": self.margin, "class_loss": self.class_loss} | {
            name: values for name, values in asked.items() if values
        }


@dataclass(frozen=True)
class Terms:
    """What a comparison depends on besides the two models' predictions.

    Args:
        look: The look at the test set; None for a policy that tests nothing, or outside of a registry: the
            level is then that of a single comparison.
        classes: How the two models' classes differ.
        champion_luck: The part of the champion's accuracy that the choice of the champion explains, 0..1;
            None if that is not known.
        attributes: The columns of the data whose slices must not lose, by name.
    """

    look: Look | None = None
    classes: ClassDifference = field(default_factory=ClassDifference)
    champion_luck: float | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """The one-sided level of the test."""
        return ALPHA / 2 if self.look is None else self.look.level


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
    rows = terms.classes.rows(challenger.labels, classes)
    duel = Duel.of(challenger, champion, rows)
    outcome = paired.compare_outcomes(duel.challenger, duel.champion, duel.groups)
    changes = class_changes.class_changes(duel.labels, duel.challenger, duel.champion, classes, duel.groups)
    costs = cost_gate.compare(challenger, champion, rows)
    largest = no_loss.largest_losses(duel, classes, budget.no_loss_of)
    slices = slice_budget.slice_changes(duel, rows, terms.attributes, budget.class_loss)
    if costs is None or (terms.classes.lost and policy is not PromotePolicy.always):
        promote, reason = _rule(policy, duel, outcome, changes, champion_version, budget, terms)
    else:
        promote, reason = cost_gate.rule(policy, costs, champion_version, budget.margin, terms.level)
    if promote and policy is not PromotePolicy.always and (loss := _loss(largest, slices, budget)):
        promote, reason = False, f"{loss}: champion {champion_version} stays"
    worst = class_changes.worst_sentence(changes, budget.class_loss)
    scope = terms.classes.sentence(len(duel.labels), len(rows))
    groups = f"{len(duel.labels):,} images of {outcome.groups:,} groups" if outcome.groups is not None else ""
    remarks = [worst if worst.split(" loses ")[0] not in reason else "", groups, scope]
    difference = paired.difference_text(outcome) if costs is None else str(costs)
    evidence = {
        "policy": str(policy),
        "images": len(duel.labels),
        "champion_version": champion_version,
        "challenger_accuracy": float(duel.challenger.mean()),
        "champion_accuracy": float(duel.champion.mean()),
        "paired": asdict(outcome),
        "error": duel.error,
        **({} if costs is None else {"costs": asdict(costs)}),
        **({"no_loss": largest} if largest else {}),
        "budget": budget.record(),
        "classes": changes,
        **({"slices": slices} if budget.no_worse_in else {}),
        **_class_facts(terms, len(rows)),
        **_look_facts(policy, promote, duel, outcome, budget, terms),
        "regressions": disagreements.listed(challenger, champion, rows, won=False),
        "improvements": disagreements.listed(challenger, champion, rows, won=True),
    }
    verdict = "; ".join(filter(None, [f"{difference}: {reason}", *remarks]))
    return GateDecision(promote, verdict, evidence)


def _loss(largest: list[dict[str, Any]], slices: list[dict[str, Any]], budget: RegressionBudget) -> str:
    """Why a promotion would lose too much on a class or a slice, as text; empty if it would not."""
    over = slice_budget.refusal(slices, budget.class_loss)
    return no_loss.why_unproven(largest, budget.class_loss) or (f"but {over}" if over else "")


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
    duel = Duel.of(challenger, champion, difference.rows(challenger.labels, classes))
    margin = (budget or RegressionBudget()).margin if policy is PromotePolicy.not_worse else 0.0
    return paired.evidence_for(duel.challenger, duel.champion, duel.groups, margin)


def _class_facts(terms: Terms, images: int) -> dict[str, Any]:
    difference = terms.classes
    if not (difference.new or difference.lost):
        return {}
    return {
        "test_images": images,
        "new_classes": list(difference.new),
        "lost_classes": list(difference.lost),
    }


def _look_facts(
    policy: PromotePolicy,
    promoted: bool,
    duel: Duel,
    outcome: PairedComparison,
    budget: RegressionBudget,
    terms: Terms,
) -> dict[str, Any]:
    """The look at the test set, and what it does to the accuracy of the model that it leaves as champion."""
    look = terms.look
    if look is None:
        return {}
    null = -budget.margin if policy is PromotePolicy.not_worse else 0.0
    luck = (
        selection_bias.luck(outcome.difference, duel.error, terms.level, null)
        if promoted
        else terms.champion_luck
    )
    correct = duel.challenger if promoted else duel.champion
    low, high = selection_bias.joint_range(correct, duel.groups, look.number + 1)
    selection = {"luck": luck, "low": low, "high": high, "models": look.number + 1}
    return {"look": look.record(), "selection": selection}


def _rule(
    policy: PromotePolicy,
    duel: Duel,
    outcome: PairedComparison,
    changes: list[dict[str, Any]],
    champion_version: str,
    budget: RegressionBudget,
    terms: Terms,
) -> tuple[bool, str]:
    """Whether to promote, and the reason."""
    stays, replaces = f"champion {champion_version} stays", f"replaces champion {champion_version}"
    if policy is PromotePolicy.never:
        return False, f"policy never, {stays}"
    if policy is PromotePolicy.always:
        return True, f"policy always, {replaces}"
    if terms.classes.lost:
        return False, f"{stays}, because classes would be lost; a user may promote this one"
    if refusal := _why_not_proven(policy, duel, outcome, budget, terms):
        return False, f"{refusal}, {stays}"
    regressed = [row for row in changes if row["high"] is not None and row["high"] < -budget.class_loss]
    if regressed:
        worst = min(regressed, key=lambda row: row["high"])
        return False, (
            f"but {worst['class_name']} loses {-worst['change'] * 100:.1f} points of recall, more than the "
            f"budget of {budget.class_loss * 100:g}: {stays}"
        )
    return True, f"{'proven better' if outcome.better_at(terms.level) else 'proven not worse'}, {replaces}"


def _why_not_proven(
    policy: PromotePolicy, duel: Duel, outcome: PairedComparison, budget: RegressionBudget, terms: Terms
) -> str:
    """Why the policy's claim is not proven at the level of this look; empty if it is."""
    if policy is PromotePolicy.not_worse:
        p_value = paired.p_not_worse(duel.challenger, duel.champion, budget.margin, duel.groups)
        claim, proven = f"not proven to lose less than {budget.margin * 100:g} points", p_value <= terms.level
    else:
        p_value, claim, proven = outcome.p_better, "not proven better", outcome.better_at(terms.level)
        if outcome.worse:
            return "proven worse"
        if too_few := _too_few(outcome, terms.level):
            return f"{claim}: {too_few}"
    if proven:
        return ""
    if terms.look is not None and p_value <= ALPHA / 2:
        return f"{claim} at the level of look {terms.look.number} (p = {p_value:.2g} > {terms.level:.2g})"
    return claim


def _too_few(outcome: PairedComparison, level: float) -> str:
    """That so few differences cannot pass the test, whatever they are, as text; empty if they can."""
    needed = ceil(-log2(level))  # all of them won have a probability of 1 in 2 ** needed
    if outcome.groups_differ is not None:
        found, unit = outcome.groups_differ, "group"
    else:
        found, unit = outcome.challenger + outcome.champion, "image"
    if found >= needed or not found:
        return ""
    differ = f"{found} {unit}{' differs' if found == 1 else 's differ'}"
    return f"only {differ}, and with fewer than {needed} no test can prove anything"
