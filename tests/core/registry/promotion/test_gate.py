import numpy as np
import pytest
from scipy import stats

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics.comparison import paired
from tasks.core.registry.promotion import gate
from tasks.core.registry.promotion.terms import RegressionBudget, Terms

CLASSES = ("ant", "bee")


def outcomes(both: int, challenger: int, champion: int, neither: int):
    correct = np.repeat([True, True, False, False], [both, challenger, champion, neither])
    correct_before = np.repeat([True, False, True, False], [both, challenger, champion, neither])
    return correct, correct_before


def scored(correct, labels=None, confidence: float = 0.9) -> Scored:
    labels = np.zeros(len(correct), np.int32) if labels is None else labels
    label_probability = np.where(correct, confidence, 1 - confidence).astype(np.float32)
    probabilities = np.empty((len(correct), 2), np.float32)
    probabilities[np.arange(len(correct)), labels] = label_probability
    probabilities[np.arange(len(correct)), 1 - labels] = 1 - label_probability
    return Scored(labels, probabilities)


def decide(policy, correct, correct_before, labels=None, budget=None):
    terms = Terms(policy, "v0003", budget or RegressionBudget())
    return gate.decide(scored(correct, labels), scored(correct_before, labels), CLASSES, terms)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (0, 1), (60, 40), (130, 90), (700, 640)])
def test_compare_outcomes_p_value_is_the_exact_binomial(b: int, c: int) -> None:
    outcome = paired.compare_outcomes(*outcomes(1000, b, c, 200))
    assert (outcome.challenger, outcome.champion, outcome.both, outcome.neither) == (b, c, 1000, 200)
    larger = stats.binom.sf(max(b, c) - 1, b + c, 0.5)  # two-sided by hand: twice the larger tail
    assert outcome.p_value == pytest.approx(min(1, 2 * larger))
    assert outcome.difference == pytest.approx((b - c) / (1200 + b + c))


def test_compare_outcomes_large_sample_matches_the_normal_interval() -> None:
    outcome = paired.compare_outcomes(*outcomes(8000, 700, 600, 700))
    share = 1300 / 10_000
    half_width = 1.96 * np.sqrt((share - 0.01**2) / 10_000)
    assert outcome.low == pytest.approx(0.01 - half_width, abs=0.0003)
    assert outcome.high == pytest.approx(0.01 + half_width, abs=0.0003)


def test_compare_outcomes_interval_is_narrower_than_unpaired() -> None:
    correct, correct_before = outcomes(9000, 120, 80, 800)
    outcome = paired.compare_outcomes(correct, correct_before)
    unpaired_width = 1.96 * np.sqrt(correct.var() / len(correct) + correct_before.var() / len(correct))
    assert outcome.high - outcome.low < unpaired_width


def test_decide_not_proven_better_gives_a_full_verdict() -> None:
    decision = decide(PromotePolicy.better, *outcomes(8000, 600, 558, 842))
    assert not decision.promote
    assert decision.verdict.startswith("+0.42 points, 95 % interval -0.2")
    assert decision.verdict.endswith(": not proven better, champion v0003 stays")


@pytest.mark.parametrize(
    ("policy", "counts", "promote", "text"),
    [
        (PromotePolicy.better, (800, 90, 40, 70), True, "proven better, replaces champion v0003"),
        (PromotePolicy.better, (800, 60, 50, 90), False, "not proven better, champion v0003 stays"),
        (PromotePolicy.better, (800, 40, 90, 70), False, "proven worse, champion v0003 stays"),
        (PromotePolicy.better, (900, 0, 0, 100), False, "not proven better"),
        (PromotePolicy.not_worse, (9000, 105, 100, 795), True, "proven not worse"),
        (PromotePolicy.not_worse, (800, 60, 50, 90), False, "not proven to lose less than 0.5 points"),
        (PromotePolicy.always, (800, 40, 90, 70), True, "policy always"),
        (PromotePolicy.never, (800, 90, 40, 70), False, "policy never"),
    ],
)
def test_decide_follows_the_policy(policy, counts, promote: bool, text: str) -> None:
    decision = decide(policy, *outcomes(*counts), budget=RegressionBudget(class_loss=1))
    assert decision.promote is promote
    assert text in decision.verdict


def test_decide_class_loss_above_budget_is_not_promoted() -> None:
    labels = np.repeat([0, 1], [1000, 200]).astype(np.int32)
    correct_before = np.concatenate([np.arange(1000) < 700, np.ones(200, bool)])
    correct = np.concatenate([np.arange(1000) < 900, np.arange(200) < 150])
    decision = decide(PromotePolicy.better, correct, correct_before, labels)
    assert decision.evidence["paired"]["low"] > 0
    assert not decision.promote
    assert "bee loses 25.0 points of recall, more than the budget of 5" in decision.verdict
    assert decide(
        PromotePolicy.better, correct, correct_before, labels, RegressionBudget(class_loss=0.5)
    ).promote


def test_class_changes_class_without_images_is_none() -> None:
    correct, correct_before = outcomes(10, 2, 1, 3)
    ant, bee = decide(PromotePolicy.better, correct, correct_before).evidence["classes"]
    assert ant["change"] == pytest.approx(1 / 16)
    assert ant["low"] <= ant["change"] <= ant["high"]
    unknown = dict.fromkeys(("change", "low", "high", "visible_loss"))
    assert bee == {"class_name": "bee", "images": 0, **unknown}


def test_disagreements_are_sorted_by_confidence() -> None:
    correct, correct_before = outcomes(1, 2, 3, 1)
    challenger, champion = scored(correct, confidence=0.6), scored(correct_before, confidence=0.7)
    challenger.probabilities[4] = [0.01, 0.99]  # the most confident mistake of the challenger
    evidence = gate.decide(challenger, champion, CLASSES, Terms(PromotePolicy.better, "v0003")).evidence
    assert [image["row"] for image in evidence["regressions"]] == [4, 3, 5]
    assert [image["row"] for image in evidence["improvements"]] == [1, 2]
    first = evidence["regressions"][0]
    assert (first["label"], first["challenger"], first["champion"]) == (0, 1, 0)
    assert first["challenger_probability"] == pytest.approx(0.99)


@pytest.mark.slow
def test_compare_counts_equal_models_are_rarely_better() -> None:
    """300 pairs of equal models: at most 2.5 % (7.5) are expected; 16 or more have a probability of 0.5 %."""
    generator = np.random.default_rng(0)
    promoted = sum(_first_is_better(generator, 0.0) for _ in range(300))
    assert promoted <= 15
    assert sum(_first_is_better(generator, 0.02) for _ in range(20)) == 20


def _first_is_better(generator, gain: float) -> bool:
    """Whether the first model is better; both differ on 15 % of 10,000 images and by `gain` in accuracy."""
    b, c, rest = generator.multinomial(10_000, [0.075 + gain / 2, 0.075 - gain / 2, 0.85])
    return paired.compare_counts(int(b), int(c), both=int(rest), neither=0).better
