"""Promotion: publishes a trained model, compares it with the champion, and may make it the champion."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.core.config import PromotePolicy
from tasks.core.errors import RegistryError
from tasks.core.evaluation import point_of_version, sketches
from tasks.core.evaluation.comparable import why_incomparable
from tasks.core.registry import registry
from tasks.core.registry.promotion import decisions, remarks, uncompared
from tasks.core.registry.promotion.champion_comparison import Challenge, compare_with_champion
from tasks.core.registry.promotion.gate import GateDecision
from tasks.core.registry.promotion.terms import RegressionBudget
from tasks.core.stage.handles import (
    Decision,
    Evaluation,
    Exports,
    FinalModel,
    ModelVersion,
    Profile,
    TensorCache,
    TrainedModel,
)
from tasks.core.workspace import Workspace


def champion_to_compare(
    dataset: str, tensors: TensorCache, trained: TrainedModel, workspace: Workspace
) -> ModelVersion | None:
    """The champion, if it has to be scored on these tensors.

    Args:
        dataset: Name of the dataset.
        tensors: The tensors with the test images.
        trained: The challenger.
        workspace: The workspace with the registry.

    Returns:
        None if there is no champion, if the challenger is the champion, if the champion is damaged, or if
        they have fewer than two classes in common. `promote` then gives the reason in its verdict. A champion
        that takes images of another size or fit is scored on the same images, decoded as it takes them.
    """
    if registry.champion_problem(dataset, workspace):
        return None
    champion = registry.champion(dataset, workspace)
    if (
        champion is None
        or champion.model_sha256 == trained.model_sha256
        or why_incomparable(champion, tensors)
    ):
        return None
    return champion


def promote(
    trained: TrainedModel,
    evaluation: Evaluation,
    champion_evaluation: Evaluation | None,
    policy: PromotePolicy,
    tensors: TensorCache,
    facts: Mapping[str, Any],
    workspace: Workspace,
    who: str,
    budget: RegressionBudget | None = None,
    exported: Exports | None = None,
    profiled: Profile | None = None,
    final: FinalModel | None = None,
) -> Decision:
    """Publish a model and decide whether it becomes champion.

    Args:
        trained: The challenger.
        evaluation: The challenger's evaluation.
        champion_evaluation: The champion's evaluation on the same tensors; None if `champion_to_compare`
            returned None.
        policy: When to promote.
        tensors: The tensors with the test images.
        facts: Facts for the version's manifest and card: parameters, seed, packages, git_commit; JSON values.
        workspace: The workspace with the registry.
        who: The user, for the registry log.
        budget: The losses that a promotion may cause; None means the defaults.
        exported: The model in other formats; the version includes the certified ones.
        profiled: The profile of the validation images, for drift detection; part of the version.
        final: A model of all images, part of the version; the gate never scores it, since it has seen test.

    Returns:
        The decision. Its `champion_changed` is true if the model of another run became champion in the
        meantime; the caller then scores that champion and calls this function again. If the challenger is the
        champion already, the evidence is that of the decision which made it champion, so it does not depend
        on the time.
    """
    dataset = tensors.dataset
    version = registry.publish(
        trained,
        evaluation,
        dataset,
        {**facts, **_model_facts(trained, evaluation, tensors)},
        workspace,
        who=who,
        exported=exported,
        profiled=profiled,
        final=final,
    )
    if problem := registry.champion_problem(dataset, workspace):
        decided = remarks.with_scores(uncompared.damaged(policy, problem, version), evaluation, None)
        return _apply(decided, version, None, tensors, workspace, who)
    champion = registry.champion(dataset, workspace)
    if champion is not None and point_of_version.is_other(version, champion):
        decided = remarks.with_scores(uncompared.other_point(policy, champion), evaluation, None)
        return _apply(decided, version, champion, tensors, workspace, who)
    if champion is not None and champion.model_sha256 == trained.model_sha256:
        verdict = remarks.with_remark(
            f"this model is champion {champion.version} already, nothing changed", evaluation
        )
        evidence = decisions.evidence_of(trained.model_sha256, dataset, workspace)
        return Decision(version.version, champion.version, False, verdict, evidence)
    accepted = budget or RegressionBudget()
    challenge = Challenge(policy, evaluation, champion, champion_evaluation, tensors, accepted)
    gate_decision = compare_with_champion(challenge, workspace)
    decision = _apply(gate_decision, version, champion, tensors, workspace, who)
    compared_model = champion_evaluation.model_sha256 if champion_evaluation else ""
    return replace(
        decision, champion_changed=_champion_changed(decision, champion, compared_model, tensors, workspace)
    )


def _model_facts(trained: TrainedModel, evaluation: Evaluation, tensors: TensorCache) -> dict[str, Any]:
    """What a version says of its model: its recipe, images, backbone and operating point."""
    facts = trained.manifest["facts"]
    return {
        "recipe": trained.recipe,
        "classes": list(tensors.classes),
        "shape": list(trained.shape),
        "fit": str(trained.fit),
        **tensors.grey_facts,
        **{name: facts[name] for name in ("backbone", "frozen") if name in facts},
        **point_of_version.facts(evaluation),
    }


def _apply(
    gate_decision: GateDecision,
    version: ModelVersion,
    champion: ModelVersion | None,
    tensors: TensorCache,
    workspace: Workspace,
    who: str,
) -> Decision:
    dataset, verdict = tensors.dataset, gate_decision.verdict
    expected = champion.version if champion else gate_decision.evidence["champion_version"]
    sketch, test_set = sketches.sketch_of(tensors), decisions.test_set(tensors)

    def said(promoted: bool, verdict: str) -> tuple[dict[str, Any], dict[str, Any]]:
        evidence, line = _evidence_and_line(gate_decision, promoted, verdict, version, champion, test_set)
        return line | {"who": who}, evidence

    def record(directory: Path) -> None:
        """Before the champion changes: a run that is killed between leaves no champion without its look."""
        decisions.write_decision(directory, *said(True, verdict), sketch)

    promoted, problem = gate_decision.promote, ""
    if promoted and (
        problem := _make_champion(dataset, version.version, expected, verdict, workspace, who, record)
    ):
        promoted, verdict = False, f"{verdict}; not done: {problem}, run again"
    line, evidence = said(promoted, verdict)
    if not promoted:
        decisions.record_decision(line, evidence, dataset, workspace, sketch)
    current_champion = registry.aliases(dataset, workspace).get(registry.CHAMPION, "")
    return Decision(version.version, current_champion, promoted, verdict, evidence)


def _evidence_and_line(
    gate_decision: GateDecision,
    promoted: bool,
    verdict: str,
    version: ModelVersion,
    champion: ModelVersion | None,
    test_set: str,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `record_decision` keeps of a decision, but for the user."""
    of_both = {"promoted": promoted, "test_set": test_set}
    evidence = {**gate_decision.evidence, "verdict": verdict, **of_both}
    line = {
        "why": verdict,
        "version": version.version,
        "challenger": version.model_sha256,
        "champion": champion.model_sha256 if champion else "",
        "looked": "paired" in evidence,
        "look": evidence.get("look"),
        **of_both,
    }
    return evidence, line


def _make_champion(
    dataset: str,
    version: str,
    expected: str,
    verdict: str,
    workspace: Workspace,
    who: str,
    record: Callable[[Path], None],
) -> str:
    """Record the decision and change the aliases; returns why that could not be done, empty if it was."""
    try:
        registry.promote(
            dataset, version, workspace, who=who, why=verdict, expected_champion=expected, before=record
        )
    except RegistryError as error:
        return error.summary
    return ""


def _champion_changed(
    decision: Decision,
    champion: ModelVersion | None,
    compared_model: str,
    tensors: TensorCache,
    workspace: Workspace,
) -> bool:
    """Whether the current champion is another one than the decision compared with, and could be compared.

    Args:
        decision: The decision.
        champion: The champion before the decision.
        compared_model: SHA-256 of the model that the challenger was compared with; empty if there was none.
        tensors: The tensors with the test images.
        workspace: The workspace with the registry.
    """
    current = registry.champion(tensors.dataset, workspace)
    if (
        decision.promoted
        or current is None
        or current.version == decision.version
        or why_incomparable(current, tensors)
    ):
        return False
    return current.model_sha256 != compared_model or champion is None or champion.version != current.version
