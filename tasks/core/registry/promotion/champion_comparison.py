"""Compares a challenger with the champion of the registry: their scores, the look, the champion's luck."""

from dataclasses import dataclass, replace

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


@dataclass(frozen=True)
class Challenge:
    """A challenger, and the champion that it may replace.

    Args:
        policy: When to promote.
        evaluation: The challenger's evaluation.
        champion: The champion; None if there is none.
        champion_evaluation: The champion's evaluation on the same tensors; None if there is none.
        tensors: The tensors with the test images.
        budget: The losses that a promotion may cause.
    """

    policy: PromotePolicy
    evaluation: Evaluation
    champion: ModelVersion | None
    champion_evaluation: Evaluation | None
    tensors: TensorCache
    budget: RegressionBudget


def compare_with_champion(challenge: Challenge, workspace: Workspace) -> GateDecision:
    """The gate's decision on a challenger, by scored predictions whose bytes are checked.

    Args:
        challenge: The challenger, and the champion.
        workspace: The workspace with the registry.
    """
    evaluations = challenge.evaluation, challenge.champion_evaluation
    with verification.required():
        for scored in filter(None, evaluations):
            verification.verify(workspace.root / scored.predictions)
        decided = _compare(challenge, workspace)
    return remarks.with_scores(decided, *evaluations)


def _compare(challenge: Challenge, workspace: Workspace) -> GateDecision:
    policy, tensors = challenge.policy, challenge.tensors
    champion, champion_evaluation = challenge.champion, challenge.champion_evaluation
    if champion is None:
        return uncompared.first_champion(policy, tensors.dataset)
    reason = why_incomparable(champion, tensors) or _why_unscored(champion_evaluation, champion, tensors)
    if reason or champion_evaluation is None:
        return uncompared.incomparable(policy, champion, reason)
    evaluations = challenge.evaluation, champion_evaluation
    terms = _terms(challenge, champion, evaluations, workspace)
    challenger, reigning = (scored_of(evaluation, tensors, "test") for evaluation in evaluations)
    decided = gate.decide(challenger, reigning, tensors.classes, terms)
    kept, champion_keeps = map(point_of_version.is_kept, evaluations)
    if decided.promote and champion_keeps and not kept and policy is not PromotePolicy.always:
        return _refuse_unproven_promise(decided, champion)
    return decided


def _refuse_unproven_promise(decided: GateDecision, champion: ModelVersion) -> GateDecision:
    reason = f"but val does not prove what was promised: champion {champion.version}, which keeps it, stays"
    difference = decided.verdict.rpartition(": ")[0]
    return replace(decided, promote=False, verdict=f"{difference}: {reason}")


def _terms(
    challenge: Challenge,
    champion: ModelVersion,
    evaluations: tuple[Evaluation, Evaluation],
    workspace: Workspace,
) -> Terms:
    """How the classes differ, the slices, and the look at the test set if the policy needs a test.

    Args:
        challenge: The challenger.
        champion: The champion.
        evaluations: The challenger's and the champion's.
        workspace: The workspace with the registry.
    """
    tensors, budget = challenge.tensors, challenge.budget
    terms = Terms(
        challenge.policy,
        champion.version,
        budget,
        classes=ClassDifference.between(classes_of(champion), tensors.classes),
        attributes=values.chosen(budget.no_worse_in, tensors),
    )
    if challenge.policy in (PromotePolicy.always, PromotePolicy.never) or terms.classes.lost:
        return terms
    challenger, reigning = (scored_of(evaluation, tensors, "val") for evaluation in evaluations)
    evidence = gate.val_evidence(challenger, reigning, tensors.classes, terms)
    models = challenge.evaluation.model_sha256, champion.model_sha256
    look = error_budget.next_look(*models, evidence, tensors, workspace)
    return replace(terms, look=look, champion_luck=_champion_luck(champion, tensors, workspace))


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
