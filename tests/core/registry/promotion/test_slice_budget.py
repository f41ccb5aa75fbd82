"""Slices as budgets of the gate: a promotion that costs one of them too much is refused."""

import numpy as np
import pytest

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.evaluate import Scored
from tasks.core.evaluation.slices.values import attribute
from tasks.core.metrics.thresholds.operating_point import OperatingPoint
from tasks.core.registry.promotion import gate, promotion
from tasks.core.registry.promotion.terms import RegressionBudget, Terms

CLASSES = ("ant", "bee")
SITES = ["A"] * 700 + ["B"] * 200 + ["C"] * 4 + ["D"] * 96
BUDGET = RegressionBudget(no_worse_in=("site",))


def scored(correct, point: OperatingPoint | None = None) -> Scored:
    labels = np.tile(np.array([0, 1], np.int32), len(correct) // 2)
    probabilities = np.full((len(correct), 2), 0.1, np.float32)
    probabilities[np.arange(len(correct)), np.where(correct, labels, 1 - labels)] = 0.9
    return Scored(labels, probabilities, operating_point=point)


def decide(lost: int, policy=PromotePolicy.better, point=None, groups=None):
    """A challenger that wins 200 images of site A, and loses `lost` of site B and all 4 of site C."""
    rows = np.arange(1000)
    before = rows >= 300
    after = (rows >= 100) & ~((rows >= 700) & (rows < 700 + lost)) & ~((rows >= 900) & (rows < 904))
    challenger, champion = scored(after, point), scored(before, point)
    if groups is not None:
        challenger, champion = (Scored(s.labels, s.probabilities, groups) for s in (challenger, champion))
    terms = Terms(policy, "v0003", BUDGET, attributes={"site": attribute("site", SITES)})
    return gate.decide(challenger, champion, CLASSES, terms)


def test_a_loss_on_a_slice_that_is_proven_above_the_budget_is_refused() -> None:
    decision = decide(lost=50)
    assert not decision.promote
    assert (
        "but site=B loses 25.0 points of accuracy (200 images), more than the budget of 5" in decision.verdict
    )
    rows = {row["value"]: row for row in decision.evidence["slices"]}
    assert set(rows) == {"A", "B", "D"}  # four images are too few to be a slice
    assert [rows[name]["over_budget"] for name in "ABD"] == [False, True, False]
    assert rows["B"]["change"] == pytest.approx(-0.25)
    assert decision.evidence["budget"]["no_worse_in"] == ["site"]


def test_a_loss_that_is_not_proven_above_the_budget_is_accepted() -> None:
    """16 of 200 images: 8 points, 95 % interval about 4 to 12."""
    decision = decide(lost=16)
    assert decision.promote
    assert "proven better" in decision.verdict


def test_without_the_option_slices_decide_nothing() -> None:
    rows = np.arange(1000)
    challenger, champion = scored((rows < 700) | (rows >= 750)), scored(rows >= 300)
    decision = gate.decide(challenger, champion, CLASSES, Terms(PromotePolicy.better, "v0003"))
    assert decision.promote
    assert "slices" not in decision.evidence


def test_policy_always_promotes_and_says_what_is_lost() -> None:
    decision = decide(lost=50, policy=PromotePolicy.always)
    assert decision.promote
    assert any(row["over_budget"] for row in decision.evidence["slices"])


def test_costs_do_not_lift_the_budget() -> None:
    point = OperatingPoint(costs=((0.0, 1.0), (1.0, 0.0)))
    decision = decide(lost=50, point=point)
    assert not decision.promote
    assert "site=B loses" in decision.verdict


def test_groups_make_a_loss_as_uncertain_as_they_are() -> None:
    """The 50 lost images are two of eight patients of site B."""
    decision = decide(lost=50, groups=np.arange(1000) // 25)
    assert not any(row["over_budget"] for row in decision.evidence["slices"])
    assert "site=B" not in decision.verdict


def test_promote_compares_slices_of_the_tensors(fake) -> None:
    """The challenger is better on all four sites; the evidence has each."""
    fake = fake.with_fields(sites=4, classes=CLASSES)
    budget = RegressionBudget(no_worse_in=("site",))
    settings = ("better", fake.tensors(), {}, fake.workspace, "a user", budget)
    worse, better = fake.evaluation("one", skill=1.0), fake.evaluation("two", skill=4.0)
    first = promotion.promote(fake.trained("one"), worse, None, *settings)
    second = promotion.promote(fake.trained("two"), better, worse, *settings)
    assert (first.promoted, second.promoted) == (True, True)
    assert [row["value"] for row in second.evidence["slices"]] == ["S0", "S1", "S2", "S3"]
