"""Decisions of the gate without a comparison: nothing is tested, and the policy alone decides."""

import shlex

from tasks.core.config import PromotePolicy
from tasks.core.registry.promotion.gate import GateDecision
from tasks.core.stage.handles import ModelVersion


def first_champion(policy: PromotePolicy, dataset: str) -> GateDecision:
    """The decision if there is no champion yet."""
    promoted = policy is not PromotePolicy.never
    verdict = f"the first champion of {dataset}" if promoted else "policy never, there is no champion"
    return GateDecision(promoted, verdict, {"policy": str(policy), "champion_version": ""})


def other_point(policy: PromotePolicy, champion: ModelVersion) -> GateDecision:
    """Replace the champion by its own model at the point asked for now: there is nothing to compare."""
    promoted = policy is not PromotePolicy.never
    outcome = "replaces it" if promoted else "policy never, champion stays"
    verdict = f"the model of champion {champion.version} at another operating point: {outcome}"
    return GateDecision(promoted, verdict, {"policy": str(policy), "champion_version": champion.version})


def damaged(policy: PromotePolicy, problem: str, version: ModelVersion) -> GateDecision:
    """The decision if the champion is damaged: nothing can be compared, and nobody loses it unasked."""
    promoted = policy is PromotePolicy.always
    command = shlex.join(["plumbline", "models", "promote", version.dataset, version.version])
    outcome = (
        "policy always, replaces it" if promoted else f"restore its files from a copy, or run `{command}`"
    )
    verdict = f"not compared, since champion {problem}: {outcome}"
    evidence = {
        "policy": str(policy),
        "champion_version": problem.partition(" ")[0],
        "not_compared": f"it {problem.partition(' ')[2]}",
    }
    return GateDecision(promoted, verdict, evidence)


def incomparable(policy: PromotePolicy, champion: ModelVersion, reason: str) -> GateDecision:
    """The decision if the two models have no scores on the same images, with the reason as text."""
    promoted = policy is PromotePolicy.always
    outcome = "policy always, replaces it" if promoted else "champion stays; a user may promote this one"
    verdict = f"not compared with champion {champion.version}, since {reason}: {outcome}"
    return GateDecision(
        promoted,
        verdict,
        {"policy": str(policy), "champion_version": champion.version, "not_compared": reason},
    )
