"""Do intervals at 95 % hold the truth 95 times in 100? Simulated, with the truth known."""

from collections.abc import Callable

import numpy as np
import pytest

from tasks.core.metrics import calibration, classification, paired

IMAGES = 400
CLASSES = 5


def population(size: int = 2_000_000) -> tuple[np.ndarray, np.ndarray]:
    """A world from which test sets are drawn: labels (size,) and probabilities float32 (size, CLASSES)."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, size)
    logits = generator.normal(size=(size, CLASSES)).astype(np.float32)
    logits[np.arange(size), labels] += 1.6
    powers = np.exp(logits)
    return labels, powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def world() -> tuple[np.ndarray, np.ndarray]:
    return population()


def held(world, sets: int, truth: dict[str, float], measure: Callable) -> dict[str, float]:
    """Share of test sets, drawn from the world, whose intervals hold the truth."""
    generator = np.random.default_rng(1)
    hits = dict.fromkeys(truth, 0)
    for _ in range(sets):
        rows = generator.integers(0, len(world[0]), IMAGES)
        for name, (low, high) in measure(world[0][rows], world[1][rows]).items():
            hits[name] += low <= truth[name] <= high
    return {name: count / sets for name, count in hits.items()}


def scores(labels, probabilities):
    return {name: (made.low, made.high) for name, made in classification.score(labels, probabilities).items()}


def truths(world) -> dict[str, float]:
    labels, probabilities = world
    predicted = probabilities.argmax(axis=1)
    matrix = classification.confusion(labels, predicted, CLASSES)
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_f1": float(np.nanmean(classification.f1_of(matrix))),
        "balanced_accuracy": float(np.nanmean(classification.recall_of(matrix))),
        "log_loss": float(classification.log_losses(labels, probabilities).mean()),
    }


def quick_scores(labels, probabilities):
    """1,000 resamples place the ends of an interval as well on average, in a tenth of the time."""
    made = classification.score(labels, probabilities, resamples=1000)
    return {name: (estimate.low, estimate.high) for name, estimate in made.items()}


def test_metrics_hold_the_truth(world) -> None:
    """Of 400 test sets, 95 % +- 3.5: three standard errors, and what so few resamples cost."""
    for name, share in held(world, 400, truths(world), quick_scores).items():
        assert share == pytest.approx(0.95, abs=0.035), name


@pytest.mark.stress
def test_every_interval_holds_the_truth_in_two_thousand_test_sets(world) -> None:
    """95 % +- 1.5, with all 10,000 resamples."""
    labels, probabilities = world
    predicted = probabilities.argmax(axis=1)
    matrix = classification.confusion(labels, predicted, CLASSES)
    names = tuple(map(str, range(CLASSES)))
    truth = truths(world) | {
        "recall": float(classification.recall_of(matrix)[0]),
        "precision": float(classification.precision_of(matrix)[0]),
        "f1": float(classification.f1_of(matrix)[0]),
        "brier": float(calibration.brier(labels[:500_000], probabilities[:500_000]).value),
    }

    def measure(some, beliefs):
        row = classification.per_class(some, beliefs.argmax(axis=1), names).iloc[0]
        classes = {name: (row[f"{name}_low"], row[f"{name}_high"]) for name in ("recall", "precision", "f1")}
        made = calibration.brier(some, beliefs)
        return scores(some, beliefs) | classes | {"brier": (made.low, made.high)}

    shares = held(world, 2000, truth, measure)
    print(shares)
    for name, share in shares.items():
        assert share == pytest.approx(0.95, abs=0.015), name


def test_the_paired_interval_holds_the_truth() -> None:
    """The gate's difference of accuracies: 1,000 pairs, 95 % +- 2.1 (three standard errors)."""
    generator = np.random.default_rng(2)
    hits = 0
    for b, c, rest in generator.multinomial(2000, [0.09, 0.07, 0.84], size=1000):
        outcome = paired.compare_counts(int(b), int(c), both=int(rest), neither=0)
        hits += outcome.low <= 0.02 <= outcome.high
    assert hits / 1000 == pytest.approx(0.95, abs=0.021)
