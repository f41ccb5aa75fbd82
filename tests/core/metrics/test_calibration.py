import json

import numpy as np
import pytest
from scipy.special import softmax
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve

from tasks.core.metrics import calibration
from tasks.core.metrics.calibration_error import expected_error
from tasks.core.metrics.thresholds import selective


def draw_predictions(seed: int, images: int, temperature: float = 1.0, classes: int = 10, scale: float = 2.0):
    """Labels drawn from probabilities, and the probabilities sharpened by `temperature`.

    The model is therefore calibrated exactly at `temperature`.
    """
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(images, classes)) * scale
    truth = np.exp(logits)
    truth /= truth.sum(axis=1, keepdims=True)
    labels = (truth.cumsum(axis=1) > generator.random((images, 1))).argmax(axis=1)
    sharpened = np.exp(logits * temperature)
    return labels, (sharpened / sharpened.sum(axis=1, keepdims=True)).astype(np.float32)


def correct_and_confidence(labels, probabilities):
    return probabilities.argmax(axis=1) == labels, calibration.confidences(probabilities)


def test_reliability_matches_scikit_learn() -> None:
    correct, confidence = correct_and_confidence(*draw_predictions(0, 1500))
    rows = calibration.reliability(correct, confidence)
    accuracy, mean = calibration_curve(correct, confidence, n_bins=15, strategy="quantile")
    assert [row["accuracy"] for row in rows] == pytest.approx(accuracy)
    assert [row["confidence"] for row in rows] == pytest.approx(mean)
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows)


def test_expected_error_small_example_matches_hand_computation() -> None:
    confidence = np.array([0.6, 0.6, 0.9, 0.9])
    correct = np.array([True, False, True, True])
    assert expected_error(correct, confidence, bins=2).plain == pytest.approx((2 * 0.1 + 2 * 0.1) / 4)


def test_expected_error_of_a_calibrated_model_may_be_zero() -> None:
    error = expected_error(*correct_and_confidence(*draw_predictions(1, 5000)))
    assert error.estimate.low == 0
    assert error.estimate.value < 0.7 * error.plain
    assert error.p_value > 0.05


def test_expected_error_overconfident_model_interval_excludes_zero() -> None:
    labels, probabilities = draw_predictions(2, 5000, temperature=2.0)
    correct, confidence = correct_and_confidence(labels, probabilities)
    error = expected_error(correct, confidence)
    assert error.estimate.low < confidence.mean() - correct.mean() < error.estimate.high
    assert error.estimate.low > 0.05
    assert error.p_value < 1e-6


@pytest.mark.parametrize("images", [50, 1000])
def test_p_value_is_that_of_outcomes_drawn_from_the_confidences(images: int) -> None:
    """The consistency bootstrap of Broecker and Smith, drawn."""
    labels, probabilities = draw_predictions(3, images, temperature=1.15)
    correct, confidence = correct_and_confidence(labels, probabilities)
    error = expected_error(correct, confidence)
    hits = np.random.default_rng(4).random((4000, images)) < confidence
    parts = np.array_split(np.argsort(confidence, kind="stable"), 15)
    gaps = hits - confidence
    drawn = sum(np.abs(gaps[:, part].sum(axis=1)) for part in parts) / images
    assert error.p_value == pytest.approx(np.mean(drawn >= error.plain), abs=0.05)


@pytest.mark.parametrize(
    ("correct", "confidence"), [([True], [1.0]), ([False], [1.0]), ([True] * 30, [1.0] * 30), ([True], [0.3])]
)
def test_expected_error_of_odd_predictions_is_finite(correct: list[bool], confidence: list[float]) -> None:
    error = expected_error(np.array(correct), np.array(confidence))
    assert 0 <= error.estimate.low <= error.estimate.value <= error.estimate.high <= 1
    assert 0 <= error.p_value <= 1


@pytest.mark.parametrize("classes", [2, 10])
def test_brier_matches_scikit_learn(classes: int) -> None:
    labels, probabilities = draw_predictions(3, 500, classes=classes)
    estimate = calibration.brier(labels, probabilities)
    expected = reference.brier_score_loss(
        labels,
        probabilities if classes > 2 else probabilities[:, 1],
        labels=range(classes),
        scale_by_half=False,
    )
    assert estimate.value == pytest.approx(expected, rel=1e-5)
    assert estimate.low < estimate.value < estimate.high


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at another temperature, by scipy."""
    return softmax(np.log(probabilities.astype(np.float64)) / temperature, axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_fit_temperature_recovers_the_true_temperature(temperature: float) -> None:
    labels, probabilities = draw_predictions(4, 20_000, temperature)
    fitted = calibration.fit_temperature(labels, probabilities)
    assert fitted == pytest.approx(temperature, rel=0.03)
    grid = np.geomspace(0.4, 3, 120)
    losses = [reference.log_loss(labels, tempered(probabilities, t)) for t in grid]
    assert fitted == pytest.approx(grid[np.argmin(losses)], rel=0.02)


def test_fit_temperature_probabilities_of_zero_give_a_finite_temperature() -> None:
    probabilities = np.eye(4, dtype=np.float32)[np.arange(40) % 4]
    assert 0.05 <= calibration.fit_temperature(np.arange(40) % 4, probabilities) <= 20


def test_risk_coverage_small_example_matches_hand_computation() -> None:
    correct = np.array([False, True, True, False])
    coverage, risk = selective.risk_coverage(correct, np.array([0.5, 0.9, 0.8, 0.7]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert risk == pytest.approx([0, 0, 1 / 3, 1 / 2])


def test_abstention_small_example_matches_hand_computation() -> None:
    correct = np.array([True] * 9 + [False] * 3)
    confidence = np.array([0.9] * 6 + [0.6] * 4 + [0.5] * 2)
    result = selective.abstention(0.1, 0.6, correct, confidence)
    assert (result.coverage, result.error) == (pytest.approx(10 / 12), pytest.approx(1 / 10))
    assert result.low < 0.1 < result.high
    assert selective.abstention(0.1, 0.95, correct, confidence).error is None
    assert selective.abstention(0.1, None, correct, confidence).threshold is None


def proven_threshold(correct: np.ndarray, confidence: np.ndarray, max_error: float) -> float | None:
    return selective.lowest_proven(selective.error_bounds(correct, confidence), max_error)


def test_lowest_proven_unproven_error_rate_gives_none() -> None:
    confidence, correct = np.full(100, 0.9), np.ones(100, bool)
    assert proven_threshold(correct, confidence, 0.01) is None
    assert proven_threshold(correct, confidence, 0.1) == 0.9
    assert proven_threshold(~correct, confidence, 0.1) is None


def test_lowest_proven_many_samples_keeps_the_error_rate() -> None:
    """Of 200 thresholds chosen on 1,000 images, 5 % (10) may exceed the error rate; 18 are 2.6 sigma more."""
    labels, probabilities = draw_predictions(6, 200_000, classes=5, scale=5.0)
    correct, confidence = correct_and_confidence(labels, probabilities)
    generator = np.random.default_rng(7)
    broken = proven = 0
    for _ in range(200):
        rows = generator.integers(0, len(correct), 1000)
        threshold = proven_threshold(correct[rows], confidence[rows], 0.1)
        if threshold is not None:
            proven += 1
            broken += np.mean(~correct[confidence >= threshold]) > 0.1
    assert proven > 190
    assert broken <= 18


def test_calibrate_result_is_strict_json() -> None:
    val, test = draw_predictions(8, 300), draw_predictions(9, 400)
    result = calibration.calibrate(*val, *test)
    json.loads(json.dumps(result), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert [row["max_error"] for row in result["abstention"]] == list(selective.MAX_ERRORS)
    assert result["aurc"] < result["risk_coverage"][-1][1]


def test_figures_at_a_temperature_are_those_of_the_tempered_probabilities() -> None:
    labels, probabilities = draw_predictions(5, 300)
    confidence, losses = calibration.figures_at(labels, probabilities, 2.5)
    scaled = tempered(probabilities, 2.5)
    np.testing.assert_allclose(confidence, scaled.max(axis=1), rtol=1e-5)
    assert losses.mean() == pytest.approx(reference.log_loss(labels, scaled), rel=1e-5)
