"""The proof that classes lose no recall: by the formula of Tango's interval without disagreements."""

import numpy as np
import pytest

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.evaluate import Scored
from tasks.core.registry.promotion import gate
from tasks.core.registry.promotion.terms import RegressionBudget, Terms

CLASSES = ("cat", "dog")


def decide(
    dogs: int,
    lost: int = 0,
    named: tuple[str, ...] = ("dog",),
    policy: PromotePolicy = PromotePolicy.better,
    groups: np.ndarray | None = None,
) -> gate.GateDecision:
    """A challenger that wins 100 of 1,000 cats and loses so many of the dogs."""
    labels = np.repeat([0, 1], [1000, dogs]).astype(np.int32)
    before = np.concatenate([np.arange(1000) < 800, np.ones(dogs, bool)])
    now = np.concatenate([np.arange(1000) < 900, np.arange(dogs) >= lost])
    return gate.decide(
        _scored(labels, now, groups),
        _scored(labels, before, groups),
        CLASSES,
        Terms(policy, "v0003", RegressionBudget(no_loss_of=named)),
    )


def _scored(labels: np.ndarray, correct: np.ndarray, groups: np.ndarray | None) -> Scored:
    predicted = np.where(correct, labels, 1 - labels)
    return Scored(labels, np.eye(2, dtype=np.float32)[predicted], groups)


@pytest.mark.parametrize("dogs", [14, 72])
def test_too_few_images_prove_nothing(dogs: int) -> None:
    """Without a disagreement the bound is z^2 / (n + z^2): 21.5 % for 14 images."""
    assert decide(dogs, named=()).promote
    decision = decide(dogs)
    bound = 1.959964**2 / (dogs + 1.959964**2)
    assert decision.evidence["no_loss"][0]["largest_loss"] == pytest.approx(bound, abs=1e-4)
    assert not decision.promote
    assert f"{dogs} images allow a loss of up to {bound * 100:.1f} points (73 images" in decision.verdict
    assert "champion v0003 stays" in decision.verdict


def test_enough_images_without_a_loss_prove_it() -> None:
    decision = decide(73)
    assert decision.promote
    assert "proven better" in decision.verdict


def test_losses_within_the_budget_need_more_images() -> None:
    """Ten of 400 dogs are lost, 2.5 points: the interval reaches 4.6 (Wald: 2.5 + 1.96 * 0.78 = 4.0)."""
    assert decide(400, lost=10).promote
    assert not decide(150, lost=4).promote


def test_class_without_test_images_is_not_proven() -> None:
    decision = decide(0)
    assert not decision.promote
    assert "0 images allow a loss of up to 100.0 points" in decision.verdict


def test_policy_always_asks_for_no_proof() -> None:
    assert decide(14, policy=PromotePolicy.always).promote


def test_images_of_few_groups_prove_less() -> None:
    """200 dogs of ten groups count as ten: t(9) * sqrt(1 / 10^2) with one more group that differs."""
    groups = np.concatenate([np.arange(1000), 1000 + np.arange(200) // 20])
    assert decide(200).promote
    assert not decide(200, groups=groups).promote
