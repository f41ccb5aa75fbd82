"""Promotion: publishes a trained model, compares it with the champion, and may make it the champion."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tasks.core.config import PromotePolicy
from tasks.core.errors import RegistryError
from tasks.core.evaluation.evaluate import scored_of
from tasks.core.registry import decisions, gate, registry
from tasks.core.registry.gate import GateDecision, RegressionBudget
from tasks.core.stage.handles import (
    Decision,
    Evaluation,
    Exports,
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
        None if there is no champion, if the challenger is the champion, or if the champion has other classes.
        `promote` then gives the reason in its verdict. A champion that takes images of another size or fit is
        scored on the same images, decoded as it takes them.

    Raises:
        RegistryError: The champion's files are damaged.
    """
    champion = registry.champion(dataset, workspace)
    if (
        champion is None
        or champion.model_sha256 == trained.model_sha256
        or why_incomparable(champion, tensors)
    ):
        return None
    return champion


def why_incomparable(champion: ModelVersion, tensors: TensorCache) -> str:
    """The reason why the champion cannot be scored on these tensors; empty if it can."""
    facts = champion.manifest["facts"]
    champion_classes, classes = list(facts["classes"]), list(tensors.classes)
    if champion_classes != classes:
        return f"it has other classes ({_class_difference(champion_classes, classes)})"
    return ""


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

    Returns:
        The decision. Its `champion_changed` is true if the model of another run became champion in the
        meantime; the caller then scores that champion and calls this function again. If the challenger is the
        champion already, the evidence is that of the decision which made it champion, so it does not depend
        on the time.
    """
    dataset = tensors.dataset
    version_facts = {
        **facts,
        "classes": list(tensors.classes),
        "shape": list(trained.shape),
        "fit": str(trained.fit),
        **tensors.grey_facts,
        **_backbone(trained),
    }
    version = registry.publish(
        trained, evaluation, dataset, version_facts, workspace, who=who, exported=exported, profiled=profiled
    )
    champion = registry.champion(dataset, workspace)
    if champion is not None and champion.model_sha256 == trained.model_sha256:
        verdict = f"this model is champion {champion.version} already, nothing changed"
        evidence = decisions.evidence_of(trained.model_sha256, dataset, workspace)
        return Decision(version.version, champion.version, False, verdict, evidence)
    gate_decision = _decide(policy, evaluation, champion_evaluation, champion, tensors, budget)
    decision = _apply(gate_decision, version, champion, tensors, workspace, who)
    compared_model = champion_evaluation.model_sha256 if champion_evaluation else ""
    return replace(
        decision, champion_changed=_champion_changed(decision, champion, compared_model, tensors, workspace)
    )


def _backbone(trained: TrainedModel) -> dict[str, Any]:
    facts = trained.manifest["facts"]
    return {name: facts[name] for name in ("backbone", "frozen") if name in facts}


def _decide(
    policy: PromotePolicy,
    evaluation: Evaluation,
    champion_evaluation: Evaluation | None,
    champion: ModelVersion | None,
    tensors: TensorCache,
    budget: RegressionBudget | None,
) -> GateDecision:
    if champion is None:
        return _first_champion(policy, tensors.dataset)
    reason = why_incomparable(champion, tensors) or _why_unscored(champion_evaluation, champion, tensors)
    if reason or champion_evaluation is None:
        return _incomparable(policy, champion, reason)
    return gate.decide(
        policy,
        scored_of(evaluation, tensors, "test"),
        scored_of(champion_evaluation, tensors, "test"),
        tensors.classes,
        champion.version,
        budget,
    )


def _first_champion(policy: PromotePolicy, dataset: str) -> GateDecision:
    promoted = policy is not PromotePolicy.never
    verdict = f"the first champion of {dataset}" if promoted else "policy never, there is no champion"
    return GateDecision(promoted, verdict, {"policy": str(policy), "champion_version": ""})


def _why_unscored(
    champion_evaluation: Evaluation | None, champion: ModelVersion, tensors: TensorCache
) -> str:
    if champion_evaluation is None:
        return "it became champion during this run, run again to compare"
    if champion_evaluation.model_sha256 != champion.model_sha256:
        return "it became champion during this run, which compared with the one before: run again"
    return "" if champion_evaluation.tensors == tensors.digest else "it was scored on other images"


def _incomparable(policy: PromotePolicy, champion: ModelVersion, reason: str) -> GateDecision:
    promoted = policy is PromotePolicy.always
    outcome = "policy always, replaces it" if promoted else "champion stays; a user may promote this one"
    verdict = f"not compared with champion {champion.version}, since {reason}: {outcome}"
    return GateDecision(
        promoted,
        verdict,
        {"policy": str(policy), "champion_version": champion.version, "not_compared": reason},
    )


def _apply(
    gate_decision: GateDecision,
    version: ModelVersion,
    champion: ModelVersion | None,
    tensors: TensorCache,
    workspace: Workspace,
    who: str,
) -> Decision:
    champion_version = champion.version if champion else ""
    promoted, verdict = gate_decision.promote, gate_decision.verdict
    if promoted:
        try:
            registry.promote(
                tensors.dataset,
                version.version,
                workspace,
                who=who,
                why=verdict,
                expected_champion=champion_version,
            )
        except RegistryError as error:
            promoted, verdict = False, f"{verdict}; not done: {error.summary}, run again"
    evidence = {
        **gate_decision.evidence,
        "verdict": verdict,
        "promoted": promoted,
        "test_set": decisions.test_set(tensors),
    }
    line = {
        "who": who,
        "why": verdict,
        "version": version.version,
        "challenger": version.model_sha256,
        "champion": champion.model_sha256 if champion else "",
        "test_set": evidence["test_set"],
        "looked": "paired" in evidence,
        "promoted": promoted,
    }
    decisions.record_decision(line, evidence, tensors.dataset, workspace)
    current_champion = registry.aliases(tensors.dataset, workspace).get(registry.CHAMPION, "")
    return Decision(version.version, current_champion, promoted, verdict, evidence)


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


def _class_difference(champion_classes: list[str], classes: list[str]) -> str:
    removed = [name for name in champion_classes if name not in classes]
    added = [name for name in classes if name not in champion_classes]
    parts = [
        f"without {', '.join(added[:5])}" if added else "",
        f"with {', '.join(removed[:5])}" if removed else "",
    ]
    return "; ".join(filter(None, parts)) or "in another order"
