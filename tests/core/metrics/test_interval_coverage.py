"""Coverage of the 95 % intervals: 95 of 100 contain the true value. Simulated, so the true value is known."""

from collections.abc import Callable

import numpy as np
import pytest

from tasks.core.metrics import calibration, calibration_error, classification
from tasks.core.metrics.comparison import paired
from tasks.core.metrics.declared import declarations

IMAGES = 400  # unless a test says otherwise
CLASSES = 5


def draw_population(size: int = 500_000) -> tuple[np.ndarray, np.ndarray]:
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


def coverage(
    population, sets: int, truth: dict[str, float], measure: Callable, images: int = IMAGES
) -> dict[str, float]:
    """Share of test sets, drawn from the population, whose intervals contain the true value."""
    generator = np.random.default_rng(1)
    hits = dict.fromkeys(truth, 0)
    for _ in range(sets):
        rows = generator.integers(0, len(population[0]), images)
        for name, (low, high) in measure(population[0][rows], population[1][rows]).items():
            hits[name] += low <= truth[name] <= high
    return {name: count / sets for name, count in hits.items()}


def scores(labels, probabilities):
    return {
        name: (estimate.low, estimate.high)
        for name, estimate in declarations.score(labels, probabilities).items()
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


def with_classes(labels, probabilities):
    """Also those of class 0 and of the Brier score."""
    names = tuple(map(str, range(CLASSES)))
    row = classification.per_class(labels, probabilities.argmax(axis=1), names).iloc[0]
    classes = {name: (row[f"{name}_low"], row[f"{name}_high"]) for name in ("recall", "precision", "f1")}
    brier = calibration.brier(labels, probabilities)
    return scores(labels, probabilities) | classes | {"brier": (brier.low, brier.high)}


def all_truths(population) -> dict[str, float]:
    labels, probabilities = population
    matrix = classification.confusion(labels, probabilities.argmax(axis=1), CLASSES)
    return truths(population) | {
        "recall": float(classification.recall_of(matrix)[0]),
        "precision": float(classification.precision_of(matrix)[0]),
        "f1": float(classification.f1_of(matrix)[0]),
        "brier": float(calibration.brier(labels, probabilities).value),
    }


@pytest.mark.slow
@pytest.mark.parametrize("images", [50, 200])
def test_intervals_of_small_test_sets_contain_the_true_values(population, images: int) -> None:
    """At least 95 % in 400 test sets, less three standard errors. Exact intervals hold it more often."""
    for name, share in coverage(population, 400, all_truths(population), with_classes, images).items():
        assert share > 0.95 - 0.033, name


@pytest.mark.slow
@pytest.mark.parametrize("images", [200, 2000])
def test_calibration_error_of_a_calibrated_model_rarely_excludes_zero(images: int) -> None:
    """2.5 % of 400 test sets, plus three standard errors. The reflected bootstrap did so in 60 %."""
    generator = np.random.default_rng(3)
    excluded = 0
    for _ in range(400):
        confidence = generator.beta(4, 1, images)
        error = calibration_error.expected_error(generator.random(images) < confidence, confidence)
        excluded += error.estimate.low > 0
    assert excluded / 400 < 0.05


def test_calibration_error_of_an_overconfident_model_is_in_its_interval() -> None:
    """Each prediction is right 10 points less often than the model says: 95 % of 400, less 3.3."""
    generator = np.random.default_rng(4)
    held = 0
    for _ in range(400):
        confidence = generator.uniform(0.5, 1, 300)
        estimate = calibration_error.expected_error(
            generator.random(300) < confidence - 0.1, confidence
        ).estimate
        held += estimate.low <= 0.1 <= estimate.high
    assert held / 400 > 0.917


@pytest.mark.stress
def test_all_intervals_contain_the_true_values_in_two_thousand_test_sets(population) -> None:
    """95 % +- 1.5; exact intervals more often."""
    shares = coverage(population, 2000, all_truths(population), with_classes)
    print(shares)
    for name, share in shares.items():
        assert 0.935 < share < 0.985, name


@pytest.mark.slow
def test_compare_counts_interval_contains_the_true_difference() -> None:
    """The gate's difference in accuracy: 1,000 pairs, 95 % +- 2.1 (three standard errors)."""
    generator = np.random.default_rng(2)
    hits = 0
    for b, c, rest in generator.multinomial(2000, [0.09, 0.07, 0.84], size=1000):
        outcome = paired.compare_counts(int(b), int(c), both=int(rest), neither=0)
        hits += outcome.low <= 0.02 <= outcome.high
    assert hits / 1000 == pytest.approx(0.95, abs=0.021)
