"""Compares a challenger with the champion of the registry: their scores, the look, the champion's luck."""

from dataclasses import replace

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import point_of_version
from tasks.core.evaluation.comparable import ClassDifference, classes_of, why_incomparable
from tasks.core.evaluation.evaluate import scored_of
from tasks.core.evaluation.slices import values
from tasks.core.registry.promotion import decisions, error_budget, gate, remarks, uncompared
from tasks.core.registry.promotion.gate import GateDecision
from tasks.core.registry.promotion.terms import RegressionBudget, Terms
from tasks.core.stage.handles import Evaluation, ModelVersion, TensorCache
from tasks.core.storage import verification
from tasks.core.workspace import Workspace


def compare_with_champion(
    policy: PromotePolicy,
    evaluation: Evaluation,
    champion_evaluation: Evaluation | None,
    champion: ModelVersion | None,
    tensors: TensorCache,
    budget: RegressionBudget | None,
    workspace: Workspace,
) -> GateDecision:
    """The gate's decision on a challenger, by scored predictions whose bytes are checked.

    Args:
        policy: When to promote.
        evaluation: The challenger's evaluation.
        champion_evaluation: The champion's evaluation on the same tensors; None if there is none.
        champion: The champion; None if there is none.
        tensors: The tensors with the test images.
        budget: The losses that a promotion may cause; None means the defaults.
        workspace: The workspace with the registry.
    """
    with verification.required():
        for scored in filter(None, (evaluation, champion_evaluation)):
            verification.verify(workspace.root / scored.predictions)
        decided = _compare(policy, evaluation, champion_evaluation, champion, tensors, budget, workspace)
    return remarks.with_scores(decided, evaluation, champion_evaluation)


def _compare(
    policy: PromotePolicy,
    evaluation: Evaluation,
    champion_evaluation: Evaluation | None,
    champion: ModelVersion | None,
    tensors: TensorCache,
    budget: RegressionBudget | None,
    workspace: Workspace,
) -> GateDecision:
    if champion is None:
        return uncompared.first_champion(policy, tensors.dataset)
    reason = why_incomparable(champion, tensors) or _why_unscored(champion_evaluation, champion, tensors)
    if reason or champion_evaluation is None:
        return uncompared.incomparable(policy, champion, reason)
    terms = _terms(policy, evaluation, champion_evaluation, champion, tensors, budget, workspace)
    asked = budget.no_worse_in if budget else ()
    decided = gate.decide(
        policy,
        scored_of(evaluation, tensors, "test"),
        scored_of(champion_evaluation, tensors, "test"),
        tensors.classes,
        champion.version,
        budget,
        replace(terms, attributes=values.chosen(asked, tensors)),
    )
    loses_promise = point_of_version.is_kept(champion_evaluation) and not point_of_version.is_kept(evaluation)
    if decided.promote and loses_promise and policy is not PromotePolicy.always:
        return _refuse_unproven_promise(decided, champion)
    return decided


def _refuse_unproven_promise(decided: GateDecision, champion: ModelVersion) -> GateDecision:
    reason = f"but val does not prove what was promised: champion {champion.version}, which keeps it, stays"
    difference = decided.verdict.rpartition(": ")[0]
    return replace(decided, promote=False, verdict=f"{difference}: {reason}")


def _terms(
    policy: PromotePolicy,
    evaluation: Evaluation,
    champion_evaluation: Evaluation,
    champion: ModelVersion,
    tensors: TensorCache,
    budget: RegressionBudget | None,
    workspace: Workspace,
) -> Terms:
    """How the classes differ, and the look at the test set if the policy needs a test."""
    difference = ClassDifference.between(classes_of(champion), tensors.classes)
    if policy in (PromotePolicy.always, PromotePolicy.never) or difference.lost:
        return Terms(classes=difference)
    val = [scored_of(scores, tensors, "val") for scores in (evaluation, champion_evaluation)]
    look = error_budget.next_look(
        evaluation.model_sha256,
        champion.model_sha256,
        gate.val_evidence(policy, val[0], val[1], tensors.classes, difference, budget),
        tensors,
        workspace,
    )
    return Terms(look, difference, _champion_luck(champion, tensors, workspace))


def _champion_luck(champion: ModelVersion, tensors: TensorCache, workspace: Workspace) -> float | None:
    """The luck in the champion's accuracy on these test images; None if others chose it, or if unknown."""
    chosen = decisions.evidence_of(champion.model_sha256, tensors.dataset, workspace)
    same_sets = decisions.same_test_sets_as(tensors, workspace)
    if not chosen.get("promoted") or chosen.get("test_set") not in same_sets:
        return None
    return chosen.get("selection", {}).get("luck")


def _why_unscored(
    champion_evaluation: Evaluation | None, champion: ModelVersion, tensors: TensorCache
) -> str:
    if champion_evaluation is None:
        return "it became champion during this run, run again to compare"
    if champion_evaluation.model_sha256 != champion.model_sha256:
        return "it became champion during this run, which compared with the one before: run again"
    return "" if champion_evaluation.tensors == tensors.digest else "it was scored on other images"
