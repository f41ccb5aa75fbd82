import json

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from tasks.core.metrics import calibration, selective


def drawn(seed: int, images: int, temperature: float = 1.0, classes: int = 10, scale: float = 2.0):
    """Labels drawn from the probabilities themselves, which are then sharpened by `temperature`.

    So the model is calibrated at `temperature` exactly.
    """
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(images, classes)) * scale
    truth = np.exp(logits)
    truth /= truth.sum(axis=1, keepdims=True)
    labels = (truth.cumsum(axis=1) > generator.random((images, 1))).argmax(axis=1)
    told = np.exp(logits * temperature)
    return labels, (told / told.sum(axis=1, keepdims=True)).astype(np.float32)


def outcome(labels, probabilities):
    return probabilities.argmax(axis=1) == labels, calibration.confidences(probabilities)


def test_reliability_is_scikit_learns() -> None:
    right, confidence = outcome(*drawn(0, 1500))
    rows = calibration.reliability(right, confidence)
    accuracy, mean = calibration_curve(right, confidence, n_bins=15, strategy="quantile")
    assert [row["accuracy"] for row in rows] == pytest.approx(accuracy)
    assert [row["confidence"] for row in rows] == pytest.approx(mean)
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)


def test_expected_error_by_hand() -> None:
    confidence = np.array([0.6, 0.6, 0.9, 0.9])
    right = np.array([True, False, True, True])
    estimate = calibration.expected_error(right, confidence, bins=2)
    assert estimate.value == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)


def test_a_calibrated_model_has_an_interval_that_reaches_to_nothing() -> None:
    estimate = calibration.expected_error(*outcome(*drawn(1, 5000)))
    assert estimate.value < 0.03
    assert estimate.low < 0.01


def test_an_overconfident_model_is_caught() -> None:
    labels, probabilities = drawn(2, 5000, temperature=2.0)
    right, confidence = outcome(labels, probabilities)
    estimate = calibration.expected_error(right, confidence)
    assert estimate.low < confidence.mean() - right.mean() < estimate.high
    assert estimate.low > 0.05


@pytest.mark.parametrize("classes", [2, 10])
def test_brier_is_scikit_learns(classes: int) -> None:
    labels, probabilities = drawn(3, 500, classes=classes)
    estimate = calibration.brier(labels, probabilities)
    expected = reference.brier_score_loss(
        labels,
        probabilities if classes > 2 else probabilities[:, 1],
        labels=range(classes),
        scale_by_half=False,
    )
    assert estimate.value == pytest.approx(expected, rel=1e-5)
    assert estimate.low < estimate.value < estimate.high


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_found(temperature: float) -> None:
    labels, probabilities = drawn(4, 20_000, temperature)
    found = calibration.fit_temperature(labels, probabilities)
    assert found == pytest.approx(temperature, rel=0.03)
    grid = np.geomspace(0.4, 3, 120)
    losses = [reference.log_loss(labels, calibration.tempered(probabilities, t)) for t in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=0.02)


def test_tempering_keeps_the_predictions() -> None:
    _, probabilities = drawn(5, 200)
    warm = calibration.tempered(probabilities, 3.0)
    assert (warm.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert warm.sum(axis=1) == pytest.approx(1)
    assert calibration.tempered(probabilities, 1.0) == pytest.approx(probabilities, abs=1e-6)


def test_a_perfect_model_with_zeros_has_a_temperature() -> None:
    probabilities = np.eye(4, dtype=np.float32)[np.arange(40) % 4]
    assert 0.05 <= calibration.fit_temperature(np.arange(40) % 4, probabilities) <= 20


def test_risk_coverage_by_hand() -> None:
    right = np.array([False, True, True, False])
    coverage, risk = selective.risk_coverage(right, np.array([0.5, 0.9, 0.8, 0.7]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 2])


def test_abstention_by_hand() -> None:
    right = np.array([True] * 9 + [False] * 3)
    confidence = np.array([0.9] * 6 + [0.6] * 4 + [0.5] * 2)
    made = selective.abstention(0.1, 0.6, right, confidence)
    assert (made.coverage, made.error) == (pytest.approx(10 / 12), pytest.approx(1 / 10))
    assert made.low < 0.1 < made.high
    assert selective.abstention(0.1, 0.95, right, confidence).error is None
    assert selective.abstention(0.1, None, right, confidence).threshold is None


def test_a_threshold_is_only_given_where_it_is_proven() -> None:
    sure, right = np.full(100, 0.9), np.ones(100, bool)
    assert selective.abstain_at(right, sure, 0.01) is None
    assert selective.abstain_at(right, sure, 0.1) == 0.9
    assert selective.abstain_at(~right, sure, 0.1) is None


def test_the_promised_error_rate_is_kept() -> None:
    """Of 200 thresholds chosen on 1,000 images, 5 % may break the promise: 10; 18 are 2.6 sigma more."""
    labels, probabilities = drawn(6, 200_000, classes=5, scale=5.0)
    right, confidence = outcome(labels, probabilities)
    generator = np.random.default_rng(7)
    broken = given = 0
    for _ in range(200):
        rows = generator.integers(0, len(right), 1000)
        threshold = selective.abstain_at(right[rows], confidence[rows], 0.1)
        if threshold is not None:
            given += 1
            broken += np.mean(~right[confidence >= threshold]) > 0.1
    assert given > 190
    assert broken <= 18


def test_everything_is_strict_json() -> None:
    val, test = drawn(8, 300), drawn(9, 400)
    made = calibration.calibrate(*val, *test)
    json.loads(json.dumps(made), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert [row["max_error"] for row in made["abstention"]] == list(calibration.TARGETS)
    assert made["aurc"] < made["risk_coverage"][-1][1]
