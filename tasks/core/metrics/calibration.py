"""Calibration: whether a probability of 0.8 means right in 8 of 10, and when to say nothing instead.

Sources: reliability and equal-mass ECE: A. Niculescu-Mizil and R. Caruana, ICML 2005, and C. Guo et al.,
"On Calibration of Modern Neural Networks", ICML 2017, which also has temperature scaling; Brier score:
G. W. Brier, Monthly Weather Review 78, 1950; abstention with a guarantee: Y. Geifman and R. El-Yaniv,
"Selective Classification for Deep Neural Networks", NeurIPS 2017.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import classification, intervals, selective
from tasks.core.metrics.classification import Estimate
from tasks.core.metrics.intervals import Floats
from tasks.core.metrics.temperature import fit

BINS = 15
TARGETS = (0.01, 0.02, 0.05, 0.1)  # error rates for which an abstention threshold is sought
MIN_PROBABILITY = (
    1e-30  # a probability of 0 has this one instead; float32 knows smaller ones than it can tell from 1
)
POINTS = 200  # of the risk-coverage curve


def confidences(probabilities: NDArray[np.floating]) -> Floats:
    """Probability of the predicted class, float64 (N,)."""
    return probabilities.max(axis=1).astype(np.float64)


def reliability(right: NDArray[np.bool_], confidence: Floats, bins: int = BINS) -> list[dict[str, Any]]:
    """Confidence against accuracy in bins of equally many images, the least confident first.

    Args:
        right: bool (N,), whether each prediction is right.
        confidence: float64 (N,), 0..1.

    Returns:
        For each bin: images, confidence (mean), accuracy, low, high (Wilson).
    """
    rows = []
    for members in np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(right))):
        hits = int(right[members].sum())
        low, high = intervals.wilson(np.asarray(hits), np.asarray(len(members)))
        rows.append(
            {
                "images": len(members),
                "confidence": float(confidence[members].mean()),
                "accuracy": hits / len(members),
                "low": float(low),
                "high": float(high),
            }
        )
    return rows


def expected_error(right: NDArray[np.bool_], confidence: Floats, bins: int = BINS) -> Estimate:
    """Expected calibration error with its interval.

    The plain estimate is too large by what chance alone makes of the bins' gaps; the bootstrap is too
    large by as much again, so the interval is the bootstrap's turned around ("basic"), cut off at 0.
    """
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(np.arange(len(order)), min(bins, len(order)))
    bin_of = np.empty(len(order), np.int32)
    for number, part in enumerate(parts):
        bin_of[order[part]] = number
    gaps = right.astype(np.float64) - confidence
    value = float(np.abs(np.bincount(bin_of, weights=gaps)).sum() / len(gaps))
    low, high = intervals.percentiles(_resampled_error(gaps, bin_of, len(parts)))
    return Estimate(value, max(0.0, 2 * value - float(high)), max(0.0, 2 * value - float(low)), "bootstrap")


def brier(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Estimate:
    """Mean squared distance of the probabilities to the truth, 0..2, with its interval."""
    distances = probabilities.astype(np.float64)
    distances[np.arange(len(labels)), labels] -= 1
    squares = (distances**2).sum(axis=1)
    low, high = intervals.percentiles(intervals.bootstrap_means(squares[:, None])[:, 0])
    return Estimate(float(squares.mean()), float(low), float(high), "bootstrap")


def fit_temperature(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """The temperature that gives held-out images the least log loss: above 1 for an over-confident model.

    Args:
        labels, probabilities: Of images that training has not seen, and that are not the test images.

    Returns:
        0.05..20; 1 leaves the probabilities as they are.
    """
    return fit(labels, np.log(np.maximum(probabilities.astype(np.float64), MIN_PROBABILITY)))


def tempered(probabilities: NDArray[np.floating], temperature: float) -> Floats:
    """Probabilities at another temperature, float64 (N, C); the order of the classes stays."""
    from scipy.special import softmax  # late: scipy takes half a second that a reused stage doesn't need

    logits = np.log(np.maximum(probabilities.astype(np.float64), MIN_PROBABILITY))
    return np.asarray(softmax(logits / temperature, axis=1), np.float64)


def calibrate(
    val_labels: NDArray[np.integer],
    val_probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
) -> dict[str, Any]:
    """Everything above: fitted and chosen on val, measured on test; JSON values.

    Returns:
        ece, brier (estimates); temperature, and `tempered` with the ece and the log loss at it;
        reliability (bins), risk_coverage (points), aurc (area under it), abstention (one an error rate).
    """
    right, confidence = classification.predicted_classes(probabilities) == labels, confidences(probabilities)
    val_right = classification.predicted_classes(val_probabilities) == val_labels
    temperature = fit_temperature(val_labels, val_probabilities)
    warm = tempered(probabilities, temperature)
    coverage, risk = selective.risk_coverage(right, confidence)
    points = np.unique(np.linspace(0, len(risk) - 1, POINTS).astype(int))
    return {
        "ece": expected_error(right, confidence).record(),
        "brier": brier(labels, probabilities).record(),
        "temperature": temperature,
        "tempered": {
            "ece": expected_error(right, confidences(warm)).record(),
            "log_loss": float(classification.log_losses(labels, warm).mean()),
        },
        "reliability": reliability(right, confidence),
        "risk_coverage": [[float(coverage[i]), float(risk[i])] for i in points],
        "aurc": float(risk.mean()),
        "abstention": [
            asdict(
                selective.abstention(
                    target,
                    selective.abstain_at(val_right, confidences(val_probabilities), target),
                    right,
                    confidence,
                )
            )
            for target in TARGETS
        ],
    }


def _resampled_error(gaps: Floats, bin_of: NDArray[np.int32], bins: int) -> Floats:
    blocks = []
    for rows in intervals.resampled_rows(len(gaps)):
        place = bin_of[rows] + bins * np.arange(len(rows), dtype=np.int32)[:, None]
        sums = np.bincount(place.ravel(), weights=gaps[rows].ravel(), minlength=bins * len(rows))
        blocks.append(np.abs(sums.reshape(len(rows), bins)).sum(axis=1) / len(gaps))
    return np.concatenate(blocks)
