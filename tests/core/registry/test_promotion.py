import pytest

from tasks.core.config import PromotePolicy
from tasks.core.errors import RegistryError
from tasks.core.registry import decisions, promotion, registry

BETTER = PromotePolicy.better


def promote(fake, name: str, skill: float, policy=BETTER, champion_evaluation=None, seed: int = 0):
    return promotion.promote(
        fake.trained(name),
        fake.evaluation(name, skill, seed),
        champion_evaluation,
        policy,
        fake.tensors(),
        {"parameters": {"epochs": 3}, "seed": seed},
        fake.workspace,
        "run 1",
    )


def test_the_first_model_becomes_champion(fake) -> None:
    decision = promote(fake, "one", 1.0)
    assert (decision.version, decision.champion, decision.promoted) == ("v0001", "v0001", True)
    assert decision.verdict == "the first champion of animals"
    assert registry.champion("animals", fake.workspace).manifest["facts"]["parameters"] == {"epochs": 3}


def test_the_first_model_under_never(fake) -> None:
    decision = promote(fake, "one", 1.0, PromotePolicy.never)
    assert (decision.champion, decision.promoted) == ("", False)
    assert registry.champion("animals", fake.workspace) is None


def test_a_better_model_replaces_the_champion_and_a_like_one_does_not(fake) -> None:
    promote(fake, "one", 1.0)
    first = fake.evaluation("one", 1.0)
    equal = promote(fake, "two", 1.0, champion_evaluation=first, seed=5)
    assert (equal.version, equal.champion, equal.promoted) == ("v0002", "v0001", False)
    assert "not proven better, champion v0001 stays" in equal.verdict
    better = promote(fake, "three", 3.0, champion_evaluation=first, seed=9)
    assert (better.version, better.champion, better.promoted) == ("v0003", "v0003", True)
    assert registry.aliases("animals", fake.workspace) == {"champion": "v0003", "previous": "v0001"}
    assert registry.history("animals", fake.workspace)[-1]["why"] == better.verdict


def test_the_champion_itself_is_not_decided_again(fake) -> None:
    first = promote(fake, "one", 1.0)
    log = registry.history("animals", fake.workspace)
    again = promote(fake, "one", 1.0)
    assert again.verdict == "this very model is champion v0001 already, nothing changed"
    assert again.evidence == first.evidence
    assert registry.history("animals", fake.workspace) == log
    assert len(decisions.read_decisions("animals", fake.workspace)) == 1


def test_the_rival_is_the_champion_unless_it_is_this_model(fake) -> None:
    tensors = fake.tensors()
    assert promotion.champion_to_compare("animals", tensors, fake.trained("one"), fake.workspace) is None
    promote(fake, "one", 1.0)
    assert promotion.champion_to_compare("animals", tensors, fake.trained("one"), fake.workspace) is None
    assert (
        promotion.champion_to_compare("animals", tensors, fake.trained("two"), fake.workspace).version
        == "v0001"
    )


def test_a_champion_with_other_classes_is_not_compared(fake) -> None:
    promote(fake, "one", 1.0)
    wider = fake.made(classes=(*fake.classes, "hen"))
    assert (
        promotion.champion_to_compare("animals", wider.tensors(), wider.trained("two"), fake.workspace)
        is None
    )
    decision = promote(wider, "two", 3.0)
    assert not decision.promoted
    assert decision.verdict == (
        "not compared with champion v0001, since it has other classes (without hen): champion stays; "
        "a person may promote this one"
    )
    assert promote(wider, "three", 3.0, PromotePolicy.always).promoted


def test_a_champion_for_another_shape_is_not_compared(fake) -> None:
    promote(fake, "one", 1.0)
    larger = fake.made(shape=(16, 16, 3))
    assert (
        promotion.champion_to_compare("animals", larger.tensors(), larger.trained("two"), fake.workspace)
        is None
    )
    assert "it takes images of 8x8x3, these are 16x16x3" in promote(larger, "two", 3.0).verdict


def test_scores_on_other_images_are_not_compared(fake) -> None:
    promote(fake, "one", 1.0)
    stale = fake.evaluation("one", 1.0)
    grown = fake.made(images=500)
    assert "scored on other images" in promote(grown, "two", 3.0, champion_evaluation=stale).verdict


def test_a_champion_that_came_up_during_the_run_is_not_compared(fake) -> None:
    promote(fake, "one", 1.0)
    assert "became champion during this run" in promote(fake, "two", 3.0).verdict
    first = fake.evaluation("one", 1.0)
    registry.promote("animals", "v0002", fake.workspace, who="ann", why="by hand")
    late = promote(fake, "three", 3.0, champion_evaluation=first)
    assert "compared with the one before" in late.verdict
    assert (late.promoted, late.champion) == (False, "v0002")


def test_a_damaged_champion_stops_the_run(fake) -> None:
    promote(fake, "one", 1.0)
    (registry.champion("animals", fake.workspace).directory / "model.keras").write_text("other")
    with pytest.raises(RegistryError, match="not what was published"):
        promotion.champion_to_compare("animals", fake.tensors(), fake.trained("two"), fake.workspace)


def test_the_ledger_counts_looks_at_a_test_set(fake) -> None:
    promote(fake, "one", 1.0)
    first = fake.evaluation("one", 1.0)
    test_set = decisions.test_set(fake.tensors())
    assert decisions.test_set_uses("animals", test_set, fake.workspace) == 0
    promote(fake, "two", 1.0, champion_evaluation=first, seed=5)
    promote(fake, "two", 1.0, champion_evaluation=first, seed=5)
    promote(fake, "three", 1.0, champion_evaluation=first, seed=6)
    assert decisions.test_set_uses("animals", test_set, fake.workspace) == 2
    assert decisions.test_set_uses("animals", "another", fake.workspace) == 0
    assert decisions.test_set(fake.made(images=500).tensors()) != test_set


def test_evidence_is_strict_json_and_kept(fake) -> None:
    promote(fake, "one", 1.0)
    decision = promote(fake, "two", 3.0, champion_evaluation=fake.evaluation("one", 1.0))
    kept = decisions.evidence_of(fake.trained("two").model_sha256, "animals", fake.workspace)
    assert kept == decision.evidence
    assert decisions.evidence_of("unknown", "animals", fake.workspace) == {}
