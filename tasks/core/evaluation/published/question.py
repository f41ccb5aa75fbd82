"""What is asked of a published version: its promises and costs, and the class that the curves are about."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.decision_settings import DecisionSettings
from tasks.core.evaluation import decision, point_of_version
from tasks.core.evaluation.decision import DecisionRequest
from tasks.core.metrics.thresholds.operating_point import OperatingPoint
from tasks.core.stage.handles import ModelVersion


@dataclass(frozen=True)
class Question:
    """What is asked.

    Args:
        request: The promises of the version's training, its costs, the class of the curves, a prevalence.
        chosen: The record of the version's operating point: rule, kept, sentences; None to predict the most
            probable class.
    """

    request: DecisionRequest
    chosen: Mapping[str, Any] | None = None

    @property
    def point(self) -> OperatingPoint | None:
        """The operating point; None for the most probable class."""
        rule = (self.chosen or {}).get("rule")
        return OperatingPoint.of(rule) if rule else None

    def record(self) -> dict[str, Any]:
        """The question as parameters of a stage."""
        return self.request.record() | ({"point": dict(self.chosen)} if self.chosen else {})

    def positive_label(self, classes: Sequence[str], labels: NDArray[np.integer]) -> int | None:
        """As `DecisionRequest.positive_label`; of two classes the rarer of the labels is meant."""
        return self.request.positive_label(classes, labels)


def of_version(
    version: ModelVersion,
    positive: str | None = None,
    prevalence: float | None = None,
    *,
    most_probable: bool = False,
) -> Question:
    """What is asked of a version.

    Args:
        version: The published version; its manifest has what was asked of its training.
        positive: The class that the curves are about; None for that of the training.
        prevalence: Share of the positive class where the model is used; None for that of the training.
        most_probable: Whether its operating point is left out.

    Raises:
        UsageError: The version does not know the class, or a prevalence needs one.
    """
    facts = version.manifest["facts"]
    asked, classes = dict(facts.get("parameters", {})), tuple(facts["classes"])
    settings = DecisionSettings(
        positive=positive or asked.get("positive"),
        least_recall=tuple(asked.get("least_recall") or ()),
        least_precision=tuple(asked.get("least_precision") or ()),
        prevalence=prevalence if prevalence is not None else asked.get("prevalence"),
    )
    request = decision.resolve(settings, classes)
    point = facts.get(point_of_version.NAME)
    if point is None or most_probable:
        return Question(DecisionRequest(request.positive, (), (), request.prevalence))
    costs = tuple(tuple(map(float, row)) for row in (point["rule"] or {}).get("costs", ()))
    chosen = {name: point[name] for name in ("rule", "kept", "sentences")}
    return Question(DecisionRequest(request.positive, request.promises, costs, request.prevalence), chosen)
