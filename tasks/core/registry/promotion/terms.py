"""What a decision depends on besides the two models' predictions: policy, accepted losses, and the look."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.comparable import ClassDifference
from tasks.core.evaluation.slices.values import Attribute
from tasks.core.metrics.comparison.paired import ALPHA
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
        policy: When to promote.
        champion_version: The champion's version, for the verdict.
        budget: The losses that a promotion may cause.
        look: The look at the test set; None for a policy that tests nothing, or outside of a registry: the
            level is then that of a single comparison.
        classes: How the two models' classes differ.
        champion_luck: The part of the champion's accuracy that the choice of the champion explains, 0..1;
            None if that is not known.
        attributes: The columns of the data whose slices must not lose, by name.
    """

    policy: PromotePolicy
    champion_version: str
    budget: RegressionBudget = RegressionBudget()
    look: Look | None = None
    classes: ClassDifference = field(default_factory=ClassDifference)
    champion_luck: float | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    @property
    def level(self) -> float:
        """The one-sided level of the test."""
        return ALPHA / 2 if self.look is None else self.look.level
