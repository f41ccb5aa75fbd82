"""Label noise: how probable it is that the given label of an image is wrong.

The model of the labels: an image of class j is labelled i with a probability that depends on j alone, and the
classifier's probabilities of the true class are right at some temperature. Rates and temperature are those
with the highest likelihood of the given labels (expectation maximization: A. Dawid and A. Skene, Applied
Statistics 28, 1979; classifiers with such rates: S. Sukhbaatar et al., ICLR workshop 2015). In a confident
joint the classifier's own mistakes look like noise. Here they don't: its probabilities say how frequent they
are.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import blocks
from tasks.core.metrics.intervals import Floats
from tasks.core.metrics.labels import matrix_scaling

# Imagined images of each class with even noise, which the rates of pairs of classes are drawn to. Few let
# pairs differ; with many, all pairs have one rate. The likelihood of labels that were not fitted decides.
PSEUDO_COUNTS = (30.0, 300.0, 3000.0, 1e7)
ERRORS = 2.0
MOST_PAIRED = 300  # classes; of more, too few images of each are fitted to tell pairs apart
ITERATIONS = 30
MAX_VALUES = 200_000  # images times classes that are fitted; the rates hold for all images
LIMITS = np.log([[1e-9, 0.05], [0.5, 20.0]])  # of noise and temperature, as logarithms
# Noise and temperature that the search may begin at. There are two maxima: no noise with mild probabilities,
# and some noise with sharp ones; from one start, 90 wrong labels of 1,797 digits were taken for none.
STARTS = ((1e-4, 0.01, 0.05, 0.2), (0.1, 0.2, 0.5, 1.0, 2.0))
MIN_PROBABILITY = 1e-12


@dataclass(frozen=True)
class LabelNoise:
    """How labels come about.

    Args:
        temperature: Divides the logarithms of the classifier's probabilities.
        rates: Probability of the given label (row) for each true class (column), float64 (C, C).
    """

    temperature: float
    rates: Floats

    def likelihoods(self, labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Floats:
        """Probability of the given label together with each true class, float64 (N, C)."""
        return np.asarray(self.rates[labels] * _scaled(_logarithms(probabilities), self.temperature))

    def wrong(self, labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> Floats:
        """The probability that each label is wrong, float64 (N,), 0..1.

        Args:
            labels: Integers (N,), 0..C-1.
            probabilities: Floats (N, C), 0..1, of models that were not trained on the images.
        """
        rates, wrong = self.rates.astype(probabilities.dtype), np.empty(len(labels))
        for part in blocks.rows(probabilities):
            images = np.arange(len(labels[part])), labels[part]
            joint = rates[labels[part]] * _scaled(_logarithms(probabilities[part]), self.temperature)
            given = joint[images].astype(np.float64)
            joint[images] = 0  # apart, so that a small sum of the others keeps its digits
            others = joint.sum(axis=1, dtype=np.float64)
            wrong[part] = others / (others + given).clip(1e-300)
        return wrong


def fitted_rows(images: int, classes: int) -> NDArray[np.int64]:
    """The rows of N images that `fit` looks at, int64 (n,), 0..N-1."""
    return _sample(images, MAX_VALUES // classes)


def fit(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> LabelNoise:
    """Estimate the noise of labels.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1, of models that were not trained on the images; N at least 1.
    """
    kept = fitted_rows(*probabilities.shape)
    labels, probabilities = labels[kept], probabilities[kept].astype(np.float64)
    start = _even_noise(labels, probabilities)
    return _maximize(start, labels, probabilities, _pseudo_count(labels, probabilities))


def _pseudo_count(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> float:
    """The pseudo-count with the highest likelihood of the half of the labels that was not fitted.

    A model that takes birds for aeroplanes more often than it says looks like labels that mix them up. So
    even noise is kept unless pairs are better by `ERRORS` standard errors, and are so, too, when the
    probabilities are corrected for such a model (`matrix_scaling`).
    """
    even = PSEUDO_COUNTS[-1]
    if len(labels) < 2 or probabilities.shape[1] > MOST_PAIRED:
        return even
    best = _proven_count(labels, probabilities, corrected=False)
    return even if best == even or _proven_count(labels, probabilities, corrected=True) == even else best


def _proven_count(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], *, corrected: bool
) -> float:
    """The best pseudo-count if it is proven better than even noise, otherwise that of even noise."""
    losses = np.zeros((len(PSEUDO_COUNTS), len(labels)))
    for first in (0, 1):
        fitted, other = slice(first, None, 2), slice(1 - first, None, 2)
        seen, unseen = probabilities[fitted], probabilities[other]
        if corrected:
            logarithms = _logarithms(probabilities).astype(np.float64)
            correct = matrix_scaling.fit(labels[fitted], logarithms[fitted])
            seen, unseen = (np.exp(correct(logarithms[half])) for half in (fitted, other))
        start = _even_noise(labels[fitted], seen)
        for number, count in enumerate(PSEUDO_COUNTS):
            noise = _maximize(start, labels[fitted], seen, count / 2)
            joint = noise.likelihoods(labels[other], unseen)
            losses[number, other] = -np.log(joint.sum(axis=1).clip(1e-300))
    best = int(losses.sum(axis=1).argmin())
    gain = losses[-1] - losses[best]
    proven = gain.sum() > ERRORS * gain.std() * np.sqrt(len(gain))
    return PSEUDO_COUNTS[best] if proven else PSEUDO_COUNTS[-1]


def _sample(images: int, most: int) -> NDArray[np.int64]:
    return np.linspace(0, images - 1, min(images, max(most, 1))).astype(np.int64)


def _even_noise(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> LabelNoise:
    """One rate for all pairs of classes, and the temperature, with the highest likelihood."""
    from scipy.optimize import minimize  # imported here: scipy takes 0.5 s

    classes, logarithms = probabilities.shape[1], _logarithms(probabilities)
    of_largest = logarithms - blocks.row_maxima(logarithms)
    shares, images = np.empty_like(of_largest), np.arange(len(labels))

    def loss(logarithms_of: NDArray[np.float64]) -> float:
        noise, temperature = np.exp(logarithms_of.clip(*LIMITS))
        np.exp(np.divide(of_largest, temperature, out=shares), out=shares)
        right = shares[images, labels] / blocks.row_sums(shares)[:, 0]
        given = (1 - noise) * right + noise * (1 - right) / max(classes - 1, 1)
        return float(-np.log(given.clip(1e-300)).mean())

    start = min(product(*STARTS), key=lambda values: loss(np.log(values)))
    options = {"maxiter": 120, "xatol": 1e-2, "fatol": 1e-6}
    found = minimize(loss, np.log(start), method="Nelder-Mead", options=options)
    noise, temperature = np.exp(found.x.clip(*LIMITS))
    return LabelNoise(float(temperature), _even_rates(float(noise), classes))


def _even_rates(noise: float, classes: int) -> Floats:
    rates = np.full((classes, classes), noise / max(classes - 1, 1))
    np.fill_diagonal(rates, 1 - noise)
    return rates


def _maximize(
    start: LabelNoise, labels: NDArray[np.integer], probabilities: NDArray[np.floating], pseudo_count: float
) -> LabelNoise:
    """Rates for each pair of classes, by expectation maximization from an even noise."""
    classes = probabilities.shape[1]
    rates = 0.99 * start.rates + 0.01 / classes  # a rate of 0 would stay 0
    order = np.argsort(labels, kind="stable")
    labels, probabilities = labels[order], probabilities[order]
    present, firsts = np.unique(labels, return_index=True)
    scaled = _scaled(_logarithms(probabilities), start.temperature)
    shares = np.empty_like(scaled)  # arrays of some megabytes: to write into one is faster than to make one
    for _ in range(ITERATIONS):
        np.multiply(rates[labels], scaled, out=shares)
        shares /= blocks.row_sums(shares).clip(1e-300)
        drawn = pseudo_count * start.rates
        drawn[present] += np.add.reduceat(shares, firsts, axis=0)
        rates = drawn / drawn.sum(axis=0)
    return LabelNoise(start.temperature, rates)


def _logarithms(probabilities: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.asarray(np.log(np.maximum(probabilities, MIN_PROBABILITY)))


def _scaled(logarithms: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Probabilities at a temperature, floats (N, C) of the type of the logarithms."""
    values = logarithms - blocks.row_maxima(logarithms)
    values /= logarithms.dtype.type(temperature)
    np.exp(values, out=values)
    values /= blocks.row_sums(values)
    return values
