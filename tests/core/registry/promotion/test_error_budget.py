"""The error rate of the gate over many looks, in real ledgers; the simulation of careers is a benchmark."""

import json

import numpy as np
import pytest

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import sketches
from tasks.core.registry import log
from tasks.core.registry.promotion import decisions, error_budget, promotion
from tasks.core.registry.promotion.error_budget import TOTAL


def promote(fake, name: str, skill: float, seed: int = 0, policy=PromotePolicy.better, champion=None):
    return promotion.promote(
        fake.trained(name),
        fake.evaluation(name, skill, seed),
        champion,
        policy,
        fake.tensors(),
        {"parameters": {}, "seed": seed},
        fake.workspace,
        "run 1",
    )


def next_look(fake, name: str = "new", evidence: float = 10.0):
    return error_budget.next_look(name, "champion", evidence, fake.tensors(), fake.workspace)


@pytest.mark.slow
def test_looks_never_spend_more_than_the_whole(fake) -> None:
    promote(fake, "one", 1.0)
    first, levels = fake.evaluation("one", 1.0), []
    for number in range(5):
        evidence = promote(fake, f"model {number}", 1.0, seed=number + 1, champion=first).evidence
        assert evidence["look"]["number"] == number + 1
        assert evidence["look"]["spent"] == pytest.approx(sum(levels))
        levels.append(evidence["look"]["level"])
    assert 0 < sum(levels) < TOTAL
    look = next_look(fake)  # clearly better on val: half of what is left
    assert look.level == pytest.approx((TOTAL - sum(levels)) / 2)
    assert next_look(fake, evidence=-10).level == pytest.approx((TOTAL - sum(levels)) * 0.002)


@pytest.mark.slow
def test_same_pair_spends_nothing_again(fake) -> None:
    promote(fake, "one", 1.0)
    first = fake.evaluation("one", 1.0)
    once = promote(fake, "two", 1.0, seed=5, champion=first)
    promote(fake, "three", 1.0, seed=6, champion=first)
    again = promote(fake, "two", 1.0, seed=5, champion=first)
    assert again.evidence == once.evidence
    assert next_look(fake).number == 3


def test_policies_that_test_nothing_spend_nothing(fake) -> None:
    promote(fake, "one", 1.0)
    never = promote(fake, "two", 1.0, 5, PromotePolicy.never, fake.evaluation("one", 1.0))
    assert "look" not in never.evidence
    look = next_look(fake)
    assert (look.number, look.spent, look.unbudgeted) == (2, 0, 1)


def test_not_worse_spends_too(fake) -> None:
    promote(fake, "one", 1.0)
    decision = promote(fake, "two", 1.0, 5, PromotePolicy.not_worse, fake.evaluation("one", 1.0))
    assert decision.evidence["look"]["level"] > 0
    assert "not proven to lose less than 0.5 points" in decision.verdict


def test_grown_test_set_is_the_same_until_most_of_it_is_new(fake) -> None:
    promote(fake, "one", 1.0)
    promote(fake, "two", 1.0, seed=5, champion=fake.evaluation("one", 1.0))
    assert next_look(fake.with_fields(images=700)).number == 2
    assert next_look(fake.with_fields(images=900)).number == 1


def test_share_of_known_is_exact_for_small_sets_and_close_for_large_ones(fake) -> None:
    def sketch(ids) -> dict:
        hashes = sorted(f"{hash_:012x}" for hash_ in ids)
        return {"images": len(hashes), "smallest": hashes[: sketches.SIZE]}

    generator = np.random.default_rng(0)
    small, large = (generator.choice(2**40, size, replace=False) for size in (200, 20_000))
    assert sketches.share_of_known(sketch(small), sketch(small[:150])) == 0.75
    assert sketches.share_of_known(sketch(small[:150]), sketch(small)) == 1
    # Three standard errors of 256 draws.
    assert sketches.share_of_known(sketch(large), sketch(large[:12_000])) == pytest.approx(0.6, abs=0.09)


def test_ledger_of_an_earlier_version_is_read(fake) -> None:
    """Its lines have no look, and it has no sketch."""
    promote(fake, "one", 1.0)
    promote(fake, "two", 1.0, seed=5, champion=fake.evaluation("one", 1.0))
    folder = fake.workspace.models / "animals"
    lines = [json.loads(line) for line in (folder / "decisions.jsonl").read_text().splitlines()]
    later = {"look", log.CHECK}
    old = [{name: value for name, value in line.items() if name not in later} for line in lines]
    (folder / "decisions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in old))
    (folder / ".decisions.jsonl.end").unlink()
    (folder / "decisions" / f"{decisions.test_set(fake.tensors())}.json").unlink()
    look = next_look(fake)
    assert (look.number, look.spent, look.unbudgeted) == (2, 0, 1)


@pytest.mark.slow
def test_accuracy_of_a_chosen_champion_has_its_luck(fake) -> None:
    promote(fake, "one", 1.0)
    better = promote(fake, "two", 1.9, seed=9, champion=fake.evaluation("one", 1.0))
    selection = better.evidence["selection"]
    assert better.promoted
    assert 0 <= selection["luck"] < better.evidence["paired"]["difference"] / 2
    assert selection["low"] < better.evidence["challenger_accuracy"] < selection["high"]
    second = promote(fake, "three", 1.9, seed=3, champion=fake.evaluation("two", 1.9, 9)).evidence
    assert second["selection"]["luck"] == selection["luck"]  # of the champion that stays
    assert second["selection"]["models"] == 3
