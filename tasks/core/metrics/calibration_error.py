"""Expected calibration error (ECE) without the bias of chance, its interval, and a test of calibration.

Chance alone makes gaps between confidence and accuracy in the bins, so the plain error of a calibrated model
is far above 0: 6 points with 200 images. Here a test is inverted: the interval has the true errors that could
have given the plain one. Sources: equal-mass bins: R. Roelofs et al., "Mitigating bias in calibration error
estimation", AISTATS 2022; the bias: A. Kumar, P. Liang, T. Ma, "Verified uncertainty calibration", NeurIPS
2019; the model's own probabilities as the null distribution: J. Broecker, L. Smith, Weather and Forecasting
22 (2007). Its moments are computed instead of drawn, with those of the folded normal distribution (F. Leone,
L. Nelson, R. Nottingham, Technometrics 3, 1961).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import cluster, intervals
from tasks.core.metrics.classification import Estimate
from tasks.core.metrics.intervals import Floats, Ints

BINS = 15
STEPS = np.linspace(0, 3, 601)  # true errors that are tried, in units of the plain error
RARE = 0.1  # least share of a bin's binomial variance that its spread of confidences leaves


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error of a model.

    Args:
        estimate: The error without the bias of chance, 0..1, with its interval.
        plain: The error as most programs give it; biased upwards.
        p_value: Of the test that the model is calibrated; None with groups.
    """

    estimate: Estimate
    plain: float
    p_value: float | None


@dataclass(frozen=True)
class _Bins:
    """Bins of equal numbers of images; every array float64 (K,).

    Args:
        counts: Images.
        gaps: Accuracy minus mean confidence.
        confidence: Mean confidence.
        spread: Variance of the confidences.
        noise: Variance of hit minus confidence.
    """

    counts: Floats
    gaps: Floats
    confidence: Floats
    spread: Floats
    noise: Floats

    @property
    def shares(self) -> Floats:
        return self.counts / self.counts.sum()

    @property
    def error(self) -> float:
        """The plain expected calibration error."""
        return float(self.shares @ np.abs(self.gaps))


def expected_error(correct: NDArray[np.bool_], confidence: Floats, bins: int = BINS) -> CalibrationError:
    """Expected calibration error with its interval and the test of calibration.

    Args:
        correct: bool (N,), whether each prediction is correct.
        confidence: float64 (N,), 0..1.
        bins: Number of bins with an equal number of images; at most N are used.
    """
    binned = _binned(correct, confidence, _numbers(confidence, bins))
    plain, images = binned.error, len(confidence)
    means, deviations = _scaled_gaps(binned, STEPS[:, None] * binned.gaps, images)
    z = intervals.normal_quantile()
    low = _first(means + z * deviations >= plain) * plain
    value = _first(means >= plain) * plain
    # Equal gaps in all bins are the least biased: chance then adds nearly nothing. They bound from above.
    equal = np.ones_like(binned.gaps) * np.where(binned.gaps < 0, -1, 1)
    ends = [
        _last(centre - z * deviation <= plain) * plain
        for centre, deviation in (
            (means, deviations),
            _scaled_gaps(binned, STEPS[:, None] * plain * equal, images),
        )
    ]
    estimate = Estimate(value, min(low, value), min(1.0, max(*ends, value)), "inverted test")
    return CalibrationError(estimate, plain, _p_value(plain, means[0], deviations[0]))


def of_groups(correct: NDArray[np.bool_], confidence: Floats, groups: Ints) -> CalibrationError:
    """The same for images that come in groups: the reflected ("basic") bootstrap of groups, cut off at 0.

    The bootstrap is biased by as much as the plain error is, once more.

    Args:
        correct: bool (N,).
        confidence: float64 (N,), 0..1.
        groups: int64 (N,), which images belong together.
    """
    number = _numbers(confidence, BINS)
    gaps = correct.astype(np.float64) - confidence
    plain = float(np.abs(np.bincount(number, weights=gaps)).sum() / len(gaps))
    codes, used = np.unique(groups, return_inverse=True)[1], int(number.max()) + 1
    sums = np.bincount(codes * used + number, gaps, (codes.max() + 1) * used).reshape(-1, used)
    drawn = cluster.resampled_sums(np.column_stack([sums, np.bincount(codes)]))
    errors = np.abs(drawn[:, :-1]).sum(axis=1) / drawn[:, -1]
    low, high = (max(0.0, 2 * plain - float(end)) for end in intervals.percentiles(errors)[::-1])
    value = float(np.clip(2 * plain - errors.mean(), low, high))
    return CalibrationError(Estimate(value, low, high, "cluster"), plain, None)


def _numbers(confidence: Floats, bins: int) -> Ints:
    """The bin of each image, int64 (N,), 0 for the least confident."""
    number = np.empty(len(confidence), np.int64)
    order = np.argsort(confidence, kind="stable")
    for each, members in enumerate(np.array_split(order, min(bins, len(order)))):
        number[members] = each
    return number


def _binned(correct: NDArray[np.bool_], confidence: Floats, number: Ints) -> _Bins:
    counts = np.bincount(number).astype(np.float64)

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(number, weights=values) / counts, np.float64)

    gap = correct.astype(np.float64) - confidence
    centre = mean(confidence)
    noise = mean((gap - mean(gap)[number]) ** 2) * counts / np.maximum(counts - 1, 1)
    return _Bins(counts, mean(gap), centre, mean((confidence - centre[number]) ** 2), noise)


def _scaled_gaps(binned: _Bins, gaps: Floats, images: int) -> tuple[Floats, Floats]:
    """Mean and standard deviation of the plain error if these are the true gaps.

    Args:
        binned: The bins.
        gaps: float64 (T, K), one row per hypothesis; the first row has no gap.
        images: Number N of images.

    Returns:
        float64 (T,) each.
    """
    from scipy.special import ndtr  # imported here: scipy takes 0.5 s, and a reused stage needs none of it

    accuracy = np.clip(binned.confidence + gaps, 1e-4, 1 - 1e-4)
    binomial = accuracy * (1 - accuracy)
    expected = np.maximum(binomial - binned.spread, RARE * binomial)
    weight = np.minimum(STEPS, 1)[:, None]  # what was seen counts as much as the gaps that were seen
    variance = np.maximum(expected, (1 - weight) * expected + weight * binned.noise) / binned.counts
    sizes, deviation = np.abs(gaps), np.sqrt(variance)
    ratio = sizes / deviation
    mean = deviation * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + sizes * (1 - 2 * ndtr(-ratio))
    within = np.maximum(sizes**2 + variance - mean**2, 0)
    total = sizes @ binned.shares
    between = (sizes - total[:, None]) ** 2 @ binned.shares / images  # of how many images fall into a bin
    return mean @ binned.shares, np.sqrt(within @ binned.shares**2 + between)


def _p_value(error: float, mean: float, deviation: float) -> float:
    """One-sided p-value of an error this large for a calibrated model, 0..1."""
    from scipy.special import ndtr

    return float(ndtr(-(error - mean) / deviation))


def _first(holds: NDArray[np.bool_]) -> float:
    return float(STEPS[np.argmax(holds)] if holds.any() else STEPS[-1])


def _last(holds: NDArray[np.bool_]) -> float:
    return float(STEPS[len(STEPS) - 1 - np.argmax(holds[::-1])] if holds.any() else STEPS[0])
