"""Coverage of the 95 % intervals: 95 of 100 contain the true value. Simulated, so the true value is known."""

from collections.abc import Callable

import numpy as np
import pytest

from tasks.core.metrics import calibration, classification
from tasks.core.metrics.comparison import paired

IMAGES = 400
CLASSES = 5


def draw_population(size: int = 2_000_000) -> tuple[np.ndarray, np.ndarray]:
    """A population to draw test sets from: labels (size,) and probabilities float32 (size, CLASSES)."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, size)
    logits = generator.normal(size=(size, CLASSES)).astype(np.float32)
    logits[np.arange(size), labels] += 1.6
    powers = np.exp(logits)
    return labels, powers / powers.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def population() -> tuple[np.ndarray, np.ndarray]:
    return draw_population()


def coverage(population, sets: int, truth: dict[str, float], measure: Callable) -> dict[str, float]:
    """Share of test sets, drawn from the population, whose intervals contain the true value."""
    generator = np.random.default_rng(1)
    hits = dict.fromkeys(truth, 0)
    for _ in range(sets):
        rows = generator.integers(0, len(population[0]), IMAGES)
        for name, (low, high) in measure(population[0][rows], population[1][rows]).items():
            hits[name] += low <= truth[name] <= high
    return {name: count / sets for name, count in hits.items()}


def scores(labels, probabilities):
    return {
        name: (estimate.low, estimate.high)
        for name, estimate in classification.score(labels, probabilities).items()
    }


def truths(population) -> dict[str, float]:
    labels, probabilities = population
    predicted = probabilities.argmax(axis=1)
    matrix = classification.confusion(labels, predicted, CLASSES)
    return {
        "accuracy": float(np.mean(predicted == labels)),
        "macro_f1": float(np.nanmean(classification.f1_of(matrix))),
        "balanced_accuracy": float(np.nanmean(classification.recall_of(matrix))),
        "log_loss": float(classification.log_losses(labels, probabilities).mean()),
    }


def quick_scores(labels, probabilities):
    """With 1,000 resamples the ends are as accurate on average, in a tenth of the time."""
    estimates = classification.score(labels, probabilities, resamples=1000)
    return {name: (estimate.low, estimate.high) for name, estimate in estimates.items()}


@pytest.mark.slow
def test_score_intervals_contain_the_true_values(population) -> None:
    """Of 400 test sets, 95 % +- 3.5: three standard errors, and the error of only 1,000 resamples."""
    for name, share in coverage(population, 400, truths(population), quick_scores).items():
        assert share == pytest.approx(0.95, abs=0.035), name


@pytest.mark.stress
def test_all_intervals_contain_the_true_values_in_two_thousand_test_sets(population) -> None:
    """95 % +- 1.5, with all 10,000 resamples."""
    labels, probabilities = population
    predicted = probabilities.argmax(axis=1)
    matrix = classification.confusion(labels, predicted, CLASSES)
    names = tuple(map(str, range(CLASSES)))
    truth = truths(population) | {
        "recall": float(classification.recall_of(matrix)[0]),
        "precision": float(classification.precision_of(matrix)[0]),
        "f1": float(classification.f1_of(matrix)[0]),
        "brier": float(calibration.brier(labels[:500_000], probabilities[:500_000]).value),
    }

    def measure(test_labels, test_probabilities):
        row = classification.per_class(test_labels, test_probabilities.argmax(axis=1), names).iloc[0]
        classes = {name: (row[f"{name}_low"], row[f"{name}_high"]) for name in ("recall", "precision", "f1")}
        brier = calibration.brier(test_labels, test_probabilities)
        return scores(test_labels, test_probabilities) | classes | {"brier": (brier.low, brier.high)}

    shares = coverage(population, 2000, truth, measure)
    print(shares)
    for name, share in shares.items():
        assert share == pytest.approx(0.95, abs=0.015), name


@pytest.mark.slow
def test_compare_counts_interval_contains_the_true_difference() -> None:
    """The gate's difference in accuracy: 1,000 pairs, 95 % +- 2.1 (three standard errors)."""
    generator = np.random.default_rng(2)
    hits = 0
    for b, c, rest in generator.multinomial(2000, [0.09, 0.07, 0.84], size=1000):
        outcome = paired.compare_counts(int(b), int(c), both=int(rest), neither=0)
        hits += outcome.low <= 0.02 <= outcome.high
    assert hits / 1000 == pytest.approx(0.95, abs=0.021)
