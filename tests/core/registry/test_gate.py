import numpy as np
import pytest
from scipy import stats

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import paired
from tasks.core.registry import gate
from tasks.core.registry.gate import RegressionBudget

CLASSES = ("ant", "bee")


def outcomes(both: int, challenger: int, champion: int, neither: int):
    right = np.repeat([True, True, False, False], [both, challenger, champion, neither])
    right_before = np.repeat([True, False, True, False], [both, challenger, champion, neither])
    return right, right_before


def scored(right, labels=None, sure: float = 0.9) -> Scored:
    labels = np.zeros(len(right), np.int32) if labels is None else labels
    own = np.where(right, sure, 1 - sure).astype(np.float32)
    probabilities = np.empty((len(right), 2), np.float32)
    probabilities[np.arange(len(right)), labels] = own
    probabilities[np.arange(len(right)), 1 - labels] = 1 - own
    return Scored(labels, probabilities)


def decide(policy, right, right_before, labels=None, budget=None):
    return gate.decide(policy, scored(right, labels), scored(right_before, labels), CLASSES, "v0003", budget)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (0, 1), (60, 40), (130, 90), (700, 640)])
def test_mcnemar_is_the_exact_binomial(b: int, c: int) -> None:
    outcome = paired.compare_outcomes(*outcomes(1000, b, c, 200))
    assert (outcome.challenger, outcome.champion, outcome.both, outcome.neither) == (b, c, 1000, 200)
    larger = stats.binom.sf(max(b, c) - 1, b + c, 0.5)  # two-sided by hand: twice the larger tail
    assert outcome.p_value == pytest.approx(min(1, 2 * larger))
    assert outcome.difference == pytest.approx((b - c) / (1200 + b + c))


def test_the_interval_is_as_wide_as_the_normal_one() -> None:
    outcome = paired.compare_outcomes(*outcomes(8000, 700, 600, 700))
    share = 1300 / 10_000
    reach = 1.96 * np.sqrt((share - 0.01**2) / 10_000)
    assert outcome.low == pytest.approx(0.01 - reach, abs=0.0003)
    assert outcome.high == pytest.approx(0.01 + reach, abs=0.0003)


def test_the_paired_interval_is_narrower_than_two_separate_ones() -> None:
    right, right_before = outcomes(9000, 120, 80, 800)
    outcome = paired.compare_outcomes(right, right_before)
    apart = 1.96 * np.sqrt(right.var() / len(right) + right_before.var() / len(right))
    assert outcome.high - outcome.low < apart


def test_the_verdict_reads_as_a_sentence() -> None:
    ruling = decide(PromotePolicy.better, *outcomes(8000, 600, 558, 842))
    assert not ruling.promote
    assert ruling.verdict.startswith("+0.42 points, 95 % interval -0.2")
    assert ruling.verdict.endswith(": not proven better, champion v0003 stays")


@pytest.mark.parametrize(
    ("policy", "counts", "promote", "words"),
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
def test_policies(policy, counts, promote: bool, words: str) -> None:
    ruling = decide(policy, *outcomes(*counts), budget=RegressionBudget(class_loss=1))
    assert ruling.promote is promote
    assert words in ruling.verdict


def test_a_class_may_not_lose_more_than_its_budget() -> None:
    labels = np.repeat([0, 1], [1000, 200]).astype(np.int32)
    right_before = np.concatenate([np.arange(1000) < 700, np.ones(200, bool)])
    right = np.concatenate([np.arange(1000) < 900, np.arange(200) < 150])
    ruling = decide(PromotePolicy.better, right, right_before, labels)
    assert ruling.evidence["paired"]["low"] > 0
    assert not ruling.promote
    assert "bee loses 25.0 points of recall, more than the budget of 5" in ruling.verdict
    assert decide(PromotePolicy.better, right, right_before, labels, RegressionBudget(class_loss=0.5)).promote


def test_a_class_without_images_has_no_change() -> None:
    right, right_before = outcomes(10, 2, 1, 3)
    ant, bee = decide(PromotePolicy.better, right, right_before).evidence["classes"]
    assert ant["change"] == pytest.approx(1 / 16)
    assert ant["low"] <= ant["change"] <= ant["high"]
    assert bee == {"class_name": "bee", "images": 0, "change": None, "low": None, "high": None}


def test_flips_are_listed_surest_first() -> None:
    right, right_before = outcomes(1, 2, 3, 1)
    challenger, champion = scored(right, sure=0.6), scored(right_before, sure=0.7)
    challenger.probabilities[4] = [0.01, 0.99]  # the surest mistake of the challenger
    evidence = gate.decide(PromotePolicy.better, challenger, champion, CLASSES, "v0003").evidence
    assert [flip["row"] for flip in evidence["regressions"]] == [4, 3, 5]
    assert [flip["row"] for flip in evidence["improvements"]] == [1, 2]
    first = evidence["regressions"][0]
    assert (first["label"], first["challenger"], first["champion"]) == (0, 1, 0)
    assert first["challenger_probability"] == pytest.approx(0.99)


def test_equal_models_are_rarely_promoted_and_better_ones_are() -> None:
    """300 pairs of equal models: at most 2.5 % expected, 7.5; 16 or more come once in 200 such tests."""
    generator = np.random.default_rng(0)
    promoted = sum(_duel(generator, 0.0) for _ in range(300))
    assert promoted <= 15
    assert sum(_duel(generator, 0.02) for _ in range(20)) == 20


def _duel(generator, gain: float) -> bool:
    """Whether one of two models that differ on 15 % of 10,000 images beats the other by `gain`."""
    b, c, rest = generator.multinomial(10_000, [0.075 + gain / 2, 0.075 - gain / 2, 0.85])
    return paired.compare_counts(int(b), int(c), both=int(rest), neither=0).better
