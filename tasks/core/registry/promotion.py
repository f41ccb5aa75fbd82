"""Promotion: a trained model gets its version, is held against the champion, and may replace it."""

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
    """The champion, if it has to be scored again on these tensors.

    None if there is no champion, if it is this very model, or if it cannot take these images or knows other
    classes; `promote` then says which.

    Raises:
        RegistryError: The champion's files are damaged.
    """
    standing = registry.champion(dataset, workspace)
    if (
        standing is None
        or standing.model_sha256 == trained.model_sha256
        or why_incomparable(standing, tensors)
    ):
        return None
    return standing


def why_incomparable(standing: ModelVersion, tensors: TensorCache) -> str:
    """Why a model cannot be scored on these tensors, in words; empty if it can."""
    facts = standing.manifest["facts"]
    theirs, ours = list(facts["classes"]), list(tensors.classes)
    if theirs != ours:
        return f"it has other classes ({_classes_apart(theirs, ours)})"
    if list(facts["shape"]) != list(tensors.shape):
        shapes = ("x".join(map(str, shape)) for shape in (facts["shape"], tensors.shape))
        return "it takes images of {}, these are {}".format(*shapes)
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
        trained, evaluation: The challenger.
        champion_evaluation: The rival's scores on the same tensors; None if `champion_to_compare` gave none.
        policy: When to promote.
        facts: For the version's manifest and card: parameters, seed, packages, git_commit; JSON values.
        who: Stands in the log.
        budget: What a promotion may cost; the default if None.
        exported: The model in other formats; the version gets those that are certified.
        profiled: What the model's images are like; goes into the version.

    Returns:
        The decision; overtaken if another run's model became champion meanwhile: have that one scored and
        ask again. Its evidence doesn't depend on when it was made: asked again about the champion
        itself, it is that of the decision which made it champion.
    """
    dataset = tensors.dataset
    known = {**facts, "classes": list(tensors.classes), "shape": list(tensors.shape)}
    version = registry.publish(
        trained, evaluation, dataset, known, workspace, who=who, exported=exported, profiled=profiled
    )
    standing = registry.champion(dataset, workspace)
    if standing is not None and standing.model_sha256 == trained.model_sha256:
        verdict = f"this very model is champion {standing.version} already, nothing changed"
        evidence = decisions.evidence_of(trained.model_sha256, dataset, workspace)
        return Decision(version.version, standing.version, False, verdict, evidence)
    ruling = _decide(policy, evaluation, champion_evaluation, standing, tensors, budget)
    decision = _apply(ruling, version, standing, tensors, workspace, who)
    met = champion_evaluation.model_sha256 if champion_evaluation else ""
    return replace(decision, champion_changed=_champion_changed(decision, standing, met, tensors, workspace))


def _decide(
    policy: PromotePolicy,
    evaluation: Evaluation,
    champion_evaluation: Evaluation | None,
    standing: ModelVersion | None,
    tensors: TensorCache,
    budget: RegressionBudget | None,
) -> GateDecision:
    if standing is None:
        return _first_champion(policy, tensors.dataset)
    hindrance = why_incomparable(standing, tensors) or _unscored(champion_evaluation, standing, tensors)
    if hindrance or champion_evaluation is None:
        return _incomparable(policy, standing, hindrance)
    return gate.decide(
        policy,
        scored_of(evaluation, tensors, "test"),
        scored_of(champion_evaluation, tensors, "test"),
        tensors.classes,
        standing.version,
        budget,
    )


def _first_champion(policy: PromotePolicy, dataset: str) -> GateDecision:
    promoted = policy is not PromotePolicy.never
    verdict = f"the first champion of {dataset}" if promoted else "policy never, there is no champion"
    return GateDecision(promoted, verdict, {"policy": str(policy), "champion_version": ""})


def _unscored(scored: Evaluation | None, standing: ModelVersion, tensors: TensorCache) -> str:
    if scored is None:
        return "it became champion during this run, run again to compare"
    if scored.model_sha256 != standing.model_sha256:
        return "it became champion during this run, which compared with the one before: run again"
    return "" if scored.tensors == tensors.digest else "it was scored on other images"


def _incomparable(policy: PromotePolicy, standing: ModelVersion, hindrance: str) -> GateDecision:
    promoted = policy is PromotePolicy.always
    outcome = "policy always, replaces it" if promoted else "champion stays; a person may promote this one"
    verdict = f"not compared with champion {standing.version}, since {hindrance}: {outcome}"
    return GateDecision(
        promoted,
        verdict,
        {"policy": str(policy), "champion_version": standing.version, "not_compared": hindrance},
    )


def _apply(
    ruling: GateDecision,
    version: ModelVersion,
    standing: ModelVersion | None,
    tensors: TensorCache,
    workspace: Workspace,
    who: str,
) -> Decision:
    before = standing.version if standing else ""
    promoted, verdict = ruling.promote, ruling.verdict
    if promoted:
        try:
            registry.promote(
                tensors.dataset, version.version, workspace, who=who, why=verdict, expected_champion=before
            )
        except RegistryError as error:
            promoted, verdict = False, f"{verdict}; not done: {error.summary}, run again"
    evidence = {
        **ruling.evidence,
        "verdict": verdict,
        "promoted": promoted,
        "test_set": decisions.test_set(tensors),
    }
    line = {
        "who": who,
        "why": verdict,
        "version": version.version,
        "challenger": version.model_sha256,
        "champion": standing.model_sha256 if standing else "",
        "test_set": evidence["test_set"],
        "looked": "paired" in evidence,
        "promoted": promoted,
    }
    decisions.record_decision(line, evidence, tensors.dataset, workspace)
    now = registry.aliases(tensors.dataset, workspace).get(registry.CHAMPION, "")
    return Decision(version.version, now, promoted, verdict, evidence)


def _champion_changed(
    decision: Decision, standing: ModelVersion | None, met: str, tensors: TensorCache, workspace: Workspace
) -> bool:
    """Whether there is a champion now that this decision was not about, but could be.

    Args:
        met: SHA-256 of the model whose scores the decision had; empty if it had none.
    """
    now = registry.champion(tensors.dataset, workspace)
    if decision.promoted or now is None or now.version == decision.version or why_incomparable(now, tensors):
        return False
    return now.model_sha256 != met or standing is None or standing.version != now.version


def _classes_apart(theirs: list[str], ours: list[str]) -> str:
    gone = [name for name in theirs if name not in ours]
    new = [name for name in ours if name not in theirs]
    parts = [f"without {', '.join(new[:5])}" if new else "", f"with {', '.join(gone[:5])}" if gone else ""]
    return "; ".join(filter(None, parts)) or "in another order"
