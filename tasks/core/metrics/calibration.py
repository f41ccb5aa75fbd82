"""Calibration: whether predictions with a probability of 0.8 are correct in 8 of 10 cases.

Sources: reliability diagram with equal-mass bins: A. Niculescu-Mizil and R. Caruana, ICML 2005, and C. Guo et
al., "On Calibration of Modern Neural Networks", ICML 2017, which also has temperature scaling; Brier score:
G. W. Brier, Monthly Weather Review 78, 1950; abstention with a guarantee: Y. Geifman and R. El-Yaniv,
"Selective Classification for Deep Neural Networks", NeurIPS 2017.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import blocks, calibration_error, classification, cluster, intervals
from tasks.core.metrics.calibration_error import BINS, CalibrationError
from tasks.core.metrics.classification import Estimate
from tasks.core.metrics.intervals import Floats, Ints
from tasks.core.metrics.temperature import fit
from tasks.core.metrics.thresholds import selective

# Floor for probabilities before the logarithm. It is far below `classification.FLOOR`: float32 distinguishes
# probabilities that are much smaller than its rounding error at 1 (1e-7).
MIN_PROBABILITY = 1e-30
POINTS = 200  # points of the stored risk-coverage curve


def confidences(probabilities: NDArray[np.floating]) -> Floats:
    """Probability of the predicted class.

    Args:
        probabilities: Floats (N, C), 0..1.

    Returns:
        float64 (N,), 0..1.
    """
    return probabilities.max(axis=1).astype(np.float64)


def reliability(
    correct: NDArray[np.bool_], confidence: Floats, bins: int = BINS, groups: Ints | None = None
) -> list[dict[str, Any]]:
    """Confidence and accuracy in bins with an equal number of images, least confident bin first.

    Args:
        correct: bool (N,), whether each prediction is correct.
        confidence: float64 (N,), 0..1.
        bins: Number of bins; at most N are used.
        groups: int64 (N,), which images belong together; None if each is by itself.

    Returns:
        One dictionary per bin: images, confidence (mean), accuracy, low and high (exact interval of the
        accuracy; with groups, `cluster.rate`).
    """
    rows = []
    for members in np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(correct))):
        hits = int(correct[members].sum())
        if groups is None:
            low, high = map(float, intervals.clopper_pearson(np.asarray(hits), np.asarray(len(members))))
        else:
            low, high = cluster.rate(correct[members], groups[members])
        rows.append(
            {
                "images": len(members),
                "confidence": float(confidence[members].mean()),
                "accuracy": hits / len(members),
                "low": low,
                "high": high,
            }
        )
    return rows


def expected_error(
    correct: NDArray[np.bool_], confidence: Floats, groups: Ints | None = None
) -> CalibrationError:
    """Expected calibration error of images, or of groups of them.

    Args:
        correct: bool (N,), whether each prediction is correct.
        confidence: float64 (N,), 0..1.
        groups: int64 (N,), which images belong together; None if each is by itself.
    """
    if groups is None:
        return calibration_error.expected_error(correct, confidence)
    return calibration_error.of_groups(correct, confidence, groups)


def brier(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], groups: Ints | None = None
) -> Estimate:
    """Brier score: the mean squared distance of the probabilities to the one-hot labels, 0..2.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
        groups: int64 (N,), which images belong together; None if each is by itself.
    """
    squares = 1 - 2 * classification.label_probabilities(labels, probabilities).astype(np.float64)
    for part in blocks.rows(probabilities):
        block = probabilities[part].astype(np.float64)
        squares[part] += np.einsum("nc,nc->n", block, block)
    return classification.mean(squares, 2.0, groups)


def fit_temperature(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """The temperature with the lowest log loss on held-out images; above 1 for an over-confident model.

    Args:
        labels: Integers (N,), of images that are neither training nor test images.
        probabilities: Floats (N, C) of the same images.

    Returns:
        0.05..20; 1 leaves the probabilities unchanged.
    """
    logits = np.empty(probabilities.shape, np.float32)
    for part in blocks.rows(probabilities):
        np.log(np.maximum(probabilities[part], MIN_PROBABILITY), out=logits[part], casting="same_kind")
    return fit(labels, logits, overwrite=True)


def figures_at(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], temperature: float
) -> tuple[Floats, Floats]:
    """Confidence and log loss of each image at another temperature, to 1e-5.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
        temperature: Divisor of the logits, above 0.

    Returns:
        float64 (N,) each.
    """
    confidence, of_label = np.empty(len(labels)), np.empty(len(labels))
    for part in blocks.rows(probabilities):
        logits = np.log(np.maximum(probabilities[part], MIN_PROBABILITY))
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits / logits.dtype.type(temperature))
        total = powers.sum(axis=1, dtype=np.float64)
        confidence[part] = 1 / total
        of_label[part] = classification.label_probabilities(labels[part], powers) / total
    return confidence, classification.losses_of(of_label)


def measure(
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    correct: NDArray[np.bool_],
    confidence: Floats,
    groups: Ints | None = None,
) -> dict[str, Any]:
    """What is measured of images, without anything fitted or chosen.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
        correct: bool (N,), whether each prediction is correct.
        confidence: float64 (N,), 0..1.
        groups: int64 (N,), which images belong together; None if each is by itself.

    Returns:
        JSON values: ece and brier (estimates); ece_plain and calibration_p_value (see `CalibrationError`);
        reliability (one row per bin); risk_coverage (points of the curve); aurc (area under the curve).
    """
    error = expected_error(correct, confidence, groups)
    coverage, risk = selective.risk_coverage(correct, confidence)
    points = np.unique(np.linspace(0, len(risk) - 1, POINTS).astype(int))
    return {
        "ece": error.estimate.record(),
        "ece_plain": error.plain,
        "calibration_p_value": error.p_value,
        "brier": brier(labels, probabilities, groups).record(),
        "reliability": reliability(correct, confidence, groups=groups),
        "risk_coverage": [[float(coverage[i]), float(risk[i])] for i in points],
        "aurc": float(risk.mean()),
    }


def calibrate(
    val_labels: NDArray[np.integer],
    val_probabilities: NDArray[np.floating],
    labels: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    val_groups: Ints | None = None,
    groups: Ints | None = None,
    *,
    most_probable: tuple[Ints, Ints] | None = None,
) -> dict[str, Any]:
    """All calibration figures of a model; fitted and chosen on val, measured on test.

    Args:
        val_labels: Integers (M,), 0..C-1, of the validation images.
        val_probabilities: Floats (M, C) of the validation images.
        labels: Integers (N,), 0..C-1, of the test images.
        probabilities: Floats (N, C) of the test images.
        val_groups: int64 (M,), which validation images belong together; None if each is by itself.
        groups: int64 (N,), the same of the test images.
        most_probable: int64 (M,) and (N,), the most probable classes of val and test, if they are known.

    Returns:
        JSON values: those of `measure`; temperature; tempered (ece and log_loss at that temperature);
        abstention (one row per error rate in `selective.MAX_ERRORS`).
    """
    both = val_probabilities, probabilities
    val_predicted, predicted = most_probable or map(classification.predicted_classes, both)
    correct, val_correct = predicted == labels, val_predicted == val_labels
    confidence, val_confidence = (
        classification.label_probabilities(chosen, told).astype(np.float64)
        for chosen, told in ((predicted, probabilities), (val_predicted, val_probabilities))
    )
    temperature = fit_temperature(val_labels, val_probabilities)
    scaled, losses = figures_at(labels, probabilities, temperature)
    return {
        **measure(labels, probabilities, correct, confidence, groups),
        "temperature": temperature,
        "tempered": {
            "ece": expected_error(correct, scaled, groups).estimate.record(),
            "log_loss": float(losses.mean()),
        },
        "abstention": selective.abstentions(
            (val_correct, val_confidence, val_groups), (correct, confidence, groups)
        ),
    }
