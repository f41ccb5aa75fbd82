"""The comparison of two models on the test images, which the gate decides by, and its record."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import class_changes, cost_gate
from tasks.core.evaluation.comparable import PairedOutcomes
from tasks.core.evaluation.cost_gate import CostDifference
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics.comparison import paired, selection_bias
from tasks.core.metrics.comparison.paired import PairedComparison
from tasks.core.registry.promotion import no_loss, slice_budget
from tasks.core.registry.promotion.terms import RegressionBudget, Terms


@dataclass(frozen=True)
class ModelComparison:
    """Both models on the same N test images.

    Args:
        rows: bool (N,), the n images that both models can be compared on.
        outcomes: Both models' outcomes on these n images.
        accuracy: The paired comparison of the two accuracies.
        classes: The change of each class, as `class_changes` has it.
        costs: The difference of the mean costs; None where mistakes have no costs.
        largest_losses: Of the classes that must not lose, as `no_loss` has them.
        slices: The change on the slices that must not lose, as `slice_budget` has it.
    """

    rows: NDArray[np.bool_]
    outcomes: PairedOutcomes
    accuracy: PairedComparison
    classes: list[dict[str, Any]]
    costs: CostDifference | None
    largest_losses: list[dict[str, Any]]
    slices: list[dict[str, Any]]

    @classmethod
    def of(
        cls,
        challenger: Scored,
        champion: Scored,
        classes: tuple[str, ...],
        terms: Terms,
    ) -> "ModelComparison":
        """Compare two models' scored test images, which are in the same order."""
        budget = terms.budget
        rows = terms.classes.rows(challenger.labels, classes)
        outcomes = PairedOutcomes.of(challenger, champion, rows)
        return cls(
            rows,
            outcomes,
            paired.compare_outcomes(outcomes.challenger, outcomes.champion, outcomes.groups),
            class_changes.class_changes(
                outcomes.labels, outcomes.challenger, outcomes.champion, classes, outcomes.groups
            ),
            cost_gate.compare(challenger, champion, rows),
            no_loss.largest_losses(outcomes, classes, budget.no_loss_of),
            slice_budget.slice_changes(outcomes, rows, terms.attributes, budget.class_loss),
        )

    def difference(self) -> str:
        """The difference in mean cost, else in accuracy, as text."""
        return paired.difference_text(self.accuracy) if self.costs is None else str(self.costs)

    def figures(self, budget: RegressionBudget) -> dict[str, Any]:
        """The comparison as JSON values."""
        return {
            "challenger_accuracy": float(self.outcomes.challenger.mean()),
            "champion_accuracy": float(self.outcomes.champion.mean()),
            "paired": asdict(self.accuracy),
            "error": self.outcomes.error,
            **({} if self.costs is None else {"costs": asdict(self.costs)}),
            **({"no_loss": self.largest_losses} if self.largest_losses else {}),
            "budget": budget.record(),
            "classes": self.classes,
            **({"slices": self.slices} if budget.no_worse_in else {}),
        }


def class_facts(terms: Terms, images: int) -> dict[str, Any]:
    """The classes that only one of the models has; empty if there are none."""
    difference = terms.classes
    if not (difference.new or difference.lost):
        return {}
    return {
        "test_images": images,
        "new_classes": list(difference.new),
        "lost_classes": list(difference.lost),
    }


def look_facts(promoted: bool, compared: ModelComparison, terms: Terms) -> dict[str, Any]:
    """The look at the test set, and what it does to the accuracy of the model that it leaves as champion."""
    look, outcomes = terms.look, compared.outcomes
    if look is None:
        return {}
    null = -terms.budget.margin if terms.policy is PromotePolicy.not_worse else 0.0
    luck = (
        selection_bias.luck(compared.accuracy.difference, outcomes.error, terms.level, null)
        if promoted
        else terms.champion_luck
    )
    correct = outcomes.challenger if promoted else outcomes.champion
    low, high = selection_bias.joint_range(correct, outcomes.groups, look.number + 1)
    selection = {"luck": luck, "low": low, "high": high, "models": look.number + 1}
    return {"look": look.record(), "selection": selection}
