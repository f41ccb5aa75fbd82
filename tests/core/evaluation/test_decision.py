"""What is asked of the decision: the point, the evaluation, the gate, the version and the report."""

import json

import numpy as np
import pandas as pd
import pytest

from tasks.core.config import PromotePolicy
from tasks.core.decision_settings import DecisionSettings
from tasks.core.evaluation import class_curves, decision, evaluate
from tasks.core.evaluation.decision import DecisionRequest
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics.thresholds.operating_point import OperatingPoint
from tasks.core.registry import model_card, registry
from tasks.core.registry.promotion import gate, promotion
from tasks.core.registry.promotion.terms import Terms
from tests.support.fake_outputs import FakeOutputs

PAIR = ("benign", "melanoma")


def promised(text: str, **more: object) -> DecisionRequest:
    return decision.resolve(DecisionSettings(least_recall=(text,), **more), PAIR)


# The point, chosen on val


def val(count: int, positives: int, seed: int = 0):
    labels = np.repeat([1, 0], [positives, count - positives])
    scores = 1 / (1 + np.exp(-np.random.default_rng(seed).normal(size=count) - 3 * labels + 1.5))
    return labels, np.stack([1 - scores, scores], axis=1)


def test_choose_kept_promise_says_what_proves_it() -> None:
    labels, probabilities = val(1000, 100)
    chosen = decision.choose(promised("melanoma=0.95"), labels, probabilities, PAIR)
    assert chosen.kept
    ((label, threshold),) = chosen.point.thresholds
    # Of 100 images, one may be below: binom.cdf(1, 100, .05) = .037, cdf(2) = .118.
    assert (label, threshold) == (1, np.sort(probabilities[labels == 1, 1])[1])
    assert "a recall of at least 95 % is proven with 95 % confidence by 100 val images" in chosen.sentences[0]


def test_choose_promise_beyond_reach_says_how_many_images_are_needed() -> None:
    chosen = decision.choose(promised("melanoma=0.99"), *val(200, 14), PAIR)
    assert not chosen.kept
    (sentence,) = chosen.sentences
    assert "not proven by 14 val images of melanoma; 299 would be needed even if none is missed" in sentence
    assert sentence.endswith("which proves 80.7 %.")  # .05 ** (1 / 14) = .8074
    assert chosen.point.thresholds[0][1] <= 0.5


def test_choose_without_an_image_of_the_class_has_no_point() -> None:
    chosen = decision.choose(promised("melanoma=0.9"), *val(50, 0), PAIR)
    assert (chosen.point, chosen.kept) == (None, False)
    assert "there is none to choose it by" in chosen.sentences[0]


def test_choose_second_promise_counts_what_the_first_takes_as_missed() -> None:
    request = decision.resolve(DecisionSettings(least_recall=("melanoma=0.95", "benign=0.95")), PAIR)
    labels, probabilities = val(1000, 300)
    chosen = decision.choose(request, labels, probabilities, PAIR)
    (first, second) = chosen.sentences
    assert "is proven" in first
    assert "not proven" in second
    found = np.mean(chosen.point.decide(probabilities)[labels == 1] == 1)
    assert found >= 0.95


# Evaluation, gate and version


@pytest.fixture
def pair(fake: FakeOutputs) -> FakeOutputs:
    return fake.with_fields(classes=PAIR, images=600)


def evaluated(fake: FakeOutputs, request: DecisionRequest | None, name: str = "one", skill: float = 1.5):
    return evaluate.evaluate(fake.predictions(name, skill), fake.tensors(), fake.workspace, request)


def test_evaluate_decides_at_the_point_and_not_from_the_most_probable(pair: FakeOutputs) -> None:
    request = promised("melanoma=0.9", prevalence=0.02)
    plain, asked = evaluated(pair, None), evaluated(pair, request)
    assert plain.digest != asked.digest
    assert plain.predictions == asked.predictions  # nothing is predicted or trained again
    scored = evaluate.scored_of(asked, pair.tensors(), "test")
    threshold = class_curves.read_point(asked)["rule"]["thresholds"][0][1]
    expected = (scored.probabilities[:, 1].astype(np.float64) >= threshold).astype(int)
    assert scored.predicted.tolist() == expected.tolist()
    assert asked.accuracy == pytest.approx(np.mean(expected == scored.labels))
    assert evaluate.scored_of(plain, pair.tensors(), "test").operating_point is None
    classes = evaluate.read_classes(asked).query("split == 'test'").set_index("class_name")
    table = class_curves.read_points(asked).set_index("decision").loc["operating point"]
    assert table["sensitivity"] == pytest.approx(classes.loc["melanoma", "recall"])
    assert table["ppv"] == pytest.approx(classes.loc["melanoma", "precision"])
    assert table["prevalence"] == 0.02
    assert evaluated(pair, request) == asked


def test_evaluate_many_classes_have_areas_but_few_curves(fake: FakeOutputs) -> None:
    many = fake.with_fields(classes=tuple(f"c{number}" for number in range(60)), images=900)
    request = DecisionRequest(positive="c7")
    record = class_curves.read_curves(evaluated(many, request))
    assert len(record["classes"]) == 60
    shown = {row["class_name"] for row in record["classes"] if "roc" in row}
    assert 10 <= len(shown) <= 11
    assert "c7" in shown
    assert all(row["roc_auc"]["low"] is not None for row in record["classes"] if row["images"])


@pytest.mark.parametrize(
    ("train", "label"), [([0, 0, 1], 1), ([0, 1, 1], 0), ([0, 1], 1)], ids=["rare", "common", "equal"]
)
def test_positive_class_of_two_is_the_rarer_or_the_second(train: list[int], label: int) -> None:
    assert DecisionRequest().positive_label(PAIR, np.array(train)) == label
    assert DecisionRequest(positive="benign").positive_label(PAIR, np.array(train)) == 0


def promote(fake: FakeOutputs, request: DecisionRequest | None, name: str = "one", champion=None, **more):
    policy = more.get("policy", PromotePolicy.better)
    evaluation = evaluated(fake, request, name)
    return promotion.promote(
        fake.trained(name), evaluation, champion, policy, fake.tensors(), {"seed": 0}, fake.workspace, "ann"
    )


def test_promote_the_same_model_at_another_point_is_another_version(pair: FakeOutputs) -> None:
    first = promote(pair, None)
    second = promote(pair, promised("melanoma=0.9"))
    assert (second.version, second.champion, second.promoted) == ("v0002", "v0002", True)
    assert "the model of champion v0001 at another operating point" in second.verdict
    again = promote(pair, promised("melanoma=0.9"))
    assert again.verdict == "this model is champion v0002 already, nothing changed"
    stays = promote(pair, promised("melanoma=0.8"), policy=PromotePolicy.never)
    assert (stays.version, stays.champion) == ("v0003", "v0002")
    back = promote(pair, None)
    assert (back.version, back.champion) == (first.version, "v0001")


def test_promote_a_better_model_that_does_not_keep_the_promise_stays_behind(pair: FakeOutputs) -> None:
    """The champion keeps the promise on val. The challenger is better on test, but proves nothing."""
    request = promised("melanoma=0.9")
    promote(pair, request)
    champion = evaluated(pair, request)
    better = evaluated(pair, request, "two", 4.0)
    path = better.directory / class_curves.POINT
    record = json.loads(path.read_text())
    assert record["kept"]
    path.write_text(json.dumps(record | {"kept": False}))
    arguments = pair.tensors(), {"seed": 0}, pair.workspace, "ann"
    trained = pair.trained("two")
    refused = promotion.promote(trained, better, champion, PromotePolicy.better, *arguments)
    assert (refused.promoted, refused.champion) == (False, "v0001")
    assert "points, 95 % interval" in refused.verdict
    assert refused.verdict.endswith(
        "but val does not prove what was promised: champion v0001, which keeps it, stays"
    )
    path.write_text(json.dumps(record))
    assert promotion.promote(trained, better, champion, PromotePolicy.better, *arguments).promoted


def test_version_has_the_point_in_its_manifest_and_card(pair: FakeOutputs) -> None:
    promote(pair, promised("melanoma=0.9"))
    version = registry.champion(pair.dataset, pair.workspace)
    facts = version.manifest["facts"]["operating_point"]
    assert facts["rule"]["thresholds"][0][0] == 1
    card = (version.directory / "model_card.md").read_text()
    assert f"## Decision\n- {facts['sentences'][0]}" in card
    assert "On test, melanoma has recall" in card
    point = facts | {"sentences": ["<b>|: a recall of at least 90 % is not proven."]}
    other = model_card.render(version.manifest["facts"] | {"operating_point": point}, {})
    assert r"- &lt;b&gt;\|: a recall of at least 90 % is not proven." in other


def test_gate_with_costs_compares_mean_costs_and_not_accuracy() -> None:
    """The challenger is wrong more often, but misses none; a miss costs 10.

    Mean costs by hand: 30 false alarms in 200 images, 0.15, and 10 misses, 0.5.
    """
    labels = np.repeat([1, 0], [50, 150]).astype(np.int32)
    point = OperatingPoint(costs=((0, 1), (10, 0)))

    def scored(predicted: np.ndarray) -> Scored:
        share = np.where(predicted == 1, 0.9, 0.01)
        return Scored(labels, np.stack([1 - share, share], axis=1).astype(np.float32), operating_point=point)

    challenger, champion = labels.copy(), labels.copy()
    challenger[50:80], champion[:10] = 1, 0
    terms = Terms(PromotePolicy.better, "v0001")
    decided = gate.decide(scored(challenger), scored(champion), PAIR, terms)
    assert decided.promote
    assert decided.verdict.startswith("-0.35 cost an image, 95 % interval -0.")
    assert "proven cheaper, replaces champion v0001; benign loses 20.0 points" in decided.verdict
    assert decided.evidence["challenger_accuracy"] < decided.evidence["champion_accuracy"]
    back = gate.decide(scored(champion), scored(challenger), PAIR, terms)
    assert not back.promote
    assert "proven dearer" in back.verdict


def test_costs_say_what_the_decisions_cost(pair: FakeOutputs) -> None:
    request = decision.resolve(DecisionSettings(positive="melanoma", cost="fn=10,fp=1"), PAIR)
    evaluation = evaluated(pair, request)
    table = class_curves.read_points(evaluation).set_index("decision")
    row = table.loc["operating point"]
    scored = evaluate.scored_of(evaluation, pair.tensors(), "test")
    costs = np.array([[0, 1], [10, 0]])[scored.labels, scored.predicted]
    assert row["mean_cost"] == pytest.approx(costs.mean())
    assert row["mean_cost_low"] < row["mean_cost"] < row["mean_cost_high"]
    assert row["mean_cost"] < table.loc["most probable class", "mean_cost"]
    assert any(line.startswith("Mean cost on test") for line in class_curves.decision_lines(evaluation))


def test_files_of_the_reading_are_strict_json(pair: FakeOutputs) -> None:
    evaluation = evaluated(pair, promised("melanoma=0.9"))
    for name in (class_curves.CURVES, class_curves.POINT):
        text = (evaluation.directory / name).read_text()
        json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    assert pd.read_parquet(evaluation.directory / class_curves.POINTS)["decision"].tolist() == [
        "most probable class",
        "operating point",
    ]
