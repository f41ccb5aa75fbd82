"""The operating point of a published version: a model at another operating point is another version."""

from collections.abc import Mapping
from typing import Any

from tasks.core.errors import UsageError
from tasks.core.stage.handles import Evaluation, ModelVersion

NAME = "operating_point"  # among the facts of a version


def facts(evaluation: Evaluation) -> dict[str, Any]:
    """For a version: the rule, what is proven, and what it gives on test; empty without a request."""
    from tasks.core.evaluation import class_curves  # it brings pandas, which the registry does not need

    chosen = class_curves.read_point(evaluation)
    if chosen is None:
        return {}
    return {
        NAME: {**chosen, "test": list(class_curves.decision_lines(evaluation))[len(chosen["sentences"]) :]}
    }


def is_kept(evaluation: Evaluation) -> bool:
    """Whether val proves everything that was promised; true if nothing was."""
    from tasks.core.evaluation import class_curves

    return bool((class_curves.read_point(evaluation) or {}).get("kept", True))


def rule_of(facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The rule among the facts of a version; None if the most probable class is predicted."""
    return (facts.get(NAME) or {}).get("rule")


def is_same(facts: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether two versions of one model decide alike."""
    return rule_of(facts) == rule_of(others)


def is_other(version: ModelVersion, champion: ModelVersion) -> bool:
    """Whether a version is the champion's model at another operating point."""
    return version.model_sha256 == champion.model_sha256 and version.version != champion.version


def to_apply(version: ModelVersion, *, most_probable: bool, abstains: float | None) -> dict[str, Any] | None:
    """The rule that batch prediction applies; None for the most probable class.

    Args:
        version: The published model.
        most_probable: Whether its operating point is left out.
        abstains: The error rate or the confidence of an abstention; None without.

    Raises:
        UsageError: Abstention is asked for, too: what it promises is about the most probable class.
    """
    rule = rule_of(version.manifest["facts"])
    if rule is None or most_probable:
        return None
    if abstains is not None:
        raise UsageError(
            f"{version.dataset} {version.version} has an operating point, which always answers",
            expected="--no-operating-point with --abstain or --threshold",
            todo="add --no-operating-point, or leave out the other",
        )
    return rule


def sentences(version: ModelVersion) -> tuple[str, ...]:
    """What the operating point of a version decides and what is proven; empty without one."""
    return tuple((version.manifest["facts"].get(NAME) or {}).get("sentences", ()))
