import pytest

from tasks.core.config import PromotePolicy
from tasks.core.evaluation import scores
from tasks.core.metrics.comparison import baseline
from tasks.core.registry import registry
from tasks.core.registry.promotion import decisions, promotion

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


def test_promote_first_model_becomes_champion(fake) -> None:
    decision = promote(fake, "one", 1.0)
    assert (decision.version, decision.champion, decision.promoted) == ("v0001", "v0001", True)
    assert decision.verdict == "the first champion of animals"
    assert registry.champion("animals", fake.workspace).manifest["facts"]["parameters"] == {"epochs": 3}


def test_promote_first_model_with_policy_never_is_not_promoted(fake) -> None:
    decision = promote(fake, "one", 1.0, PromotePolicy.never)
    assert (decision.champion, decision.promoted) == ("", False)
    assert registry.champion("animals", fake.workspace) is None


def test_promote_only_a_better_model_replaces_the_champion(fake) -> None:
    promote(fake, "one", 1.0)
    first = fake.evaluation("one", 1.0)
    equal = promote(fake, "two", 1.0, champion_evaluation=first, seed=5)
    assert (equal.version, equal.champion, equal.promoted) == ("v0002", "v0001", False)
    assert "not proven better, champion v0001 stays" in equal.verdict
    better = promote(fake, "three", 3.0, champion_evaluation=first, seed=9)
    assert (better.version, better.champion, better.promoted) == ("v0003", "v0003", True)
    assert registry.aliases("animals", fake.workspace) == {"champion": "v0003", "previous": "v0001"}
    assert registry.history("animals", fake.workspace)[-1]["why"] == better.verdict


def test_promote_champion_again_repeats_its_evidence(fake) -> None:
    first = promote(fake, "one", 1.0)
    log = registry.history("animals", fake.workspace)
    again = promote(fake, "one", 1.0)
    assert again.verdict == "this model is champion v0001 already, nothing changed"
    assert again.evidence == first.evidence
    assert registry.history("animals", fake.workspace) == log
    assert len(decisions.read_decisions("animals", fake.workspace)) == 1


def test_every_verdict_says_that_the_model_is_no_better_than_none(fake) -> None:
    first = promote(fake, "one", 0.0)
    remark = first.verdict.partition("; ")[2]
    assert remark
    again = promote(fake, "one", 0.0)
    assert again.verdict == f"this model is champion v0001 already, nothing changed; {remark}"
    (fake.workspace.models / "animals" / "v0001" / "model.keras").write_text("damaged")
    damaged = promote(fake, "two", 0.0)
    assert not damaged.promoted
    of_two = baseline.remark(scores.read_metrics(fake.evaluation("two", 0.0))["test"])
    assert damaged.verdict.endswith(f"; {of_two}")


def test_champion_to_compare_same_model_is_none(fake) -> None:
    tensors = fake.tensors()
    assert promotion.champion_to_compare("animals", tensors, fake.trained("one"), fake.workspace) is None
    promote(fake, "one", 1.0)
    assert promotion.champion_to_compare("animals", tensors, fake.trained("one"), fake.workspace) is None
    assert (
        promotion.champion_to_compare("animals", tensors, fake.trained("two"), fake.workspace).version
        == "v0001"
    )


def test_promote_new_class_is_compared_on_what_both_know(fake) -> None:
    promote(fake, "one", 1.0)
    wider = fake.with_fields(classes=("hen", *fake.classes))
    champion = promotion.champion_to_compare("animals", wider.tensors(), wider.trained("two"), fake.workspace)
    assert champion is not None
    labels = wider.labels("test")
    known = int((labels != 0).sum())
    decision = promote(wider, "two", 3.0, champion_evaluation=wider.evaluation("one", 0.5, 3))
    scope = f"compared on {known} of 400 test images: the champion does not know hen"
    assert decision.promoted
    assert decision.verdict.endswith(scope)
    assert decision.evidence["images"] == known
    assert decision.evidence["new_classes"] == ["hen"]
    won, lost = decision.evidence["paired"]["challenger"], decision.evidence["paired"]["champion"]
    assert decision.evidence["paired"]["difference"] == pytest.approx((won - lost) / known)
    assert all(labels[image["row"]] != 0 for image in decision.evidence["improvements"])


@pytest.mark.slow
def test_promote_model_without_a_class_of_the_champion_is_left_to_a_person(fake) -> None:
    promote(fake, "one", 1.0)
    narrower = fake.with_fields(classes=fake.classes[:5])
    decision = promote(narrower, "two", 3.0, champion_evaluation=narrower.evaluation("one", 0.5, 3))
    assert not decision.promoted
    assert "champion v0001 stays, because classes would be lost" in decision.verdict
    assert decision.verdict.endswith("the challenger no longer knows fox, gnu")
    assert "look" not in decision.evidence
    always = promote(narrower, "three", 3.0, PromotePolicy.always, narrower.evaluation("one", 0.5, 3))
    assert always.promoted


def test_promote_champion_with_one_class_in_common_is_not_compared(fake) -> None:
    promote(fake, "one", 1.0)
    others = fake.with_fields(classes=("ant", "hen", "owl"))
    assert (
        promotion.champion_to_compare("animals", others.tensors(), others.trained("two"), fake.workspace)
        is None
    )
    decision = promote(others, "two", 3.0)
    assert not decision.promoted
    assert decision.verdict == (
        "not compared with champion v0001, since it has other classes (without hen, owl; with bee, cat, dog, "
        "eel, fox and 1 more): champion stays; a user may promote this one"
    )
    assert promote(others, "three", 3.0, PromotePolicy.always).promoted


def test_champion_of_another_image_size_is_compared(fake) -> None:
    """It is scored on the same images at its own size; `predict_splits` has the test of that."""
    promote(fake, "one", 1.0)
    larger = fake.with_fields(shape=(16, 16, 3))
    champion = promotion.champion_to_compare(
        "animals", larger.tensors(), larger.trained("two"), fake.workspace
    )
    assert champion is not None
    assert champion.shape == (8, 8, 3)


def test_promote_with_another_fit_compares_and_records_it(fake) -> None:
    promote(fake, "one", 1.0)
    padded = fake.with_fields(fit="pad")
    champion = promotion.champion_to_compare(
        "animals", padded.tensors(), padded.trained("two"), fake.workspace
    )
    assert champion is not None
    assert champion.fit == "crop"
    promote(padded, "two", 3.0)
    version = registry.resolve("animals", "v0002", fake.workspace)
    assert version.manifest["facts"]["fit"] == "pad"
    card = (version.directory / registry.CARD).read_text()
    assert "- Fit: an image of other proportions is scaled in whole, with black equally at both ends" in card


def test_promote_champion_scored_on_other_images_is_not_compared(fake) -> None:
    promote(fake, "one", 1.0)
    stale = fake.evaluation("one", 1.0)
    grown = fake.with_fields(images=500)
    assert "scored on other images" in promote(grown, "two", 3.0, champion_evaluation=stale).verdict


def test_promote_new_champion_during_the_run_is_not_compared(fake) -> None:
    promote(fake, "one", 1.0)
    assert "became champion during this run" in promote(fake, "two", 3.0).verdict
    first = fake.evaluation("one", 1.0)
    registry.promote("animals", "v0002", fake.workspace, who="ann", why="by hand")
    late = promote(fake, "three", 3.0, champion_evaluation=first)
    assert "compared with the one before" in late.verdict
    assert (late.promoted, late.champion) == (False, "v0002")


@pytest.mark.parametrize("policy", [BETTER, PromotePolicy.always])
def test_damaged_champion_is_not_compared_and_is_replaced_only_on_request(fake, policy) -> None:
    promote(fake, "one", 1.0)
    (registry.champion("animals", fake.workspace).directory / "model.keras").write_text("other")
    champion = promotion.champion_to_compare("animals", fake.tensors(), fake.trained("two"), fake.workspace)
    assert champion is None
    decision = promote(fake, "two", 3.0, policy)
    assert (decision.version, decision.promoted) == ("v0002", policy is PromotePolicy.always)
    assert "champion v0001 is damaged" in decision.verdict
    assert ("models promote animals v0002" in decision.verdict) == (policy is BETTER)
    champions = {"champion": "v0001"} if policy is BETTER else {"champion": "v0002", "previous": "v0001"}
    assert registry.aliases("animals", fake.workspace) == champions


def test_model_whose_version_is_damaged_is_published_again(fake) -> None:
    promote(fake, "one", 1.0)
    (registry.champion("animals", fake.workspace).directory / "labels.txt").write_text("other")
    assert promote(fake, "one", 1.0).version == "v0002"
    assert promote(fake, "one", 1.0).version == "v0002"


def test_test_set_uses_counts_different_pairs(fake) -> None:
    promote(fake, "one", 1.0)
    first = fake.evaluation("one", 1.0)
    test_set = decisions.test_set(fake.tensors())
    assert decisions.test_set_uses("animals", test_set, fake.workspace) == 0
    promote(fake, "two", 1.0, champion_evaluation=first, seed=5)
    promote(fake, "two", 1.0, champion_evaluation=first, seed=5)
    promote(fake, "three", 1.0, champion_evaluation=first, seed=6)
    assert decisions.test_set_uses("animals", test_set, fake.workspace) == 2
    assert decisions.test_set_uses("animals", "another", fake.workspace) == 0
    assert decisions.test_set(fake.with_fields(images=500).tensors()) != test_set


def test_evidence_of_returns_the_recorded_evidence(fake) -> None:
    promote(fake, "one", 1.0)
    decision = promote(fake, "two", 3.0, champion_evaluation=fake.evaluation("one", 1.0))
    kept = decisions.evidence_of(fake.trained("two").model_sha256, "animals", fake.workspace)
    assert kept == decision.evidence
    assert decisions.evidence_of("unknown", "animals", fake.workspace) == {}
