"""Temperature scaling: one number divides the logits, so that confidence agrees with accuracy.

Sources: C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; targets slightly below 1:
J. Platt, "Probabilistic Outputs for Support Vector Machines", 1999. A temperature of few images can do harm,
so `choose` takes one only if cross-validation proves that it lowers the log loss. A bias for each class
beside it (vector scaling, Guo et al.) was tried and does not help: docs/experiments.md.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.metrics import blocks, cluster
from tasks.core.metrics.intervals import Floats, Ints

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0  # limits of the search
SAMPLE, NEAR = 1000, 0.1  # images that tell where to look, and how far around it, as a logarithm
FOLDS = 5
LEAST_IMAGES = 30  # below, the interval of a mean of skewed losses is too narrow
ONE_SIDED = 0.9  # level of a two-sided interval whose lower end holds with 95 %
NONE = 1.0  # a temperature that changes nothing


@dataclass(frozen=True)
class Choice:
    """A temperature, and why it was chosen.

    Args:
        temperature: Divisor of the logits; 1 for none.
        reason: A sentence part for manifests, reports and cards.
    """

    temperature: float
    reason: str


def choose(
    labels: NDArray[np.integer],
    logits: NDArray[np.floating],
    groups: Ints | None = None,
    images: str = "val images",
) -> Choice:
    """The temperature, if it is proven to lower the log loss; otherwise none.

    Each image is scored at the temperature of the other folds. The gain is proven if its mean is above 0 with
    95 % confidence (one-sided, Student's t of the jackknife); with groups, these are in one fold and count.

    Args:
        labels: Integers (N,), 0..C-1, of images that the logits' model has not seen.
        logits: Floats (N, C).
        groups: int64 (N,), which images belong together; None if each is by itself.
        images: What these images are, for the reason.
    """
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(units.max()) + 1 if len(units) else 0
    of = f"{count:,} {images}" if groups is None else f"{shares.counted(count, 'group')} of {images}"
    if count < LEAST_IMAGES:
        return Choice(NONE, f"no temperature: {of} are too few to prove that one helps")
    gains = _gains(labels, logits, units % FOLDS)
    sums, sizes = cluster.totals(units, gains), cluster.sizes_of(units)
    least = gains.mean() - cluster.quantile(sizes, ONE_SIDED) * np.sqrt(cluster.mean_variance(sums, sizes))
    change = f"the log loss falls by {gains.mean():.4f}, by at least {least:.4f} with 95 % confidence"
    if least <= 0:
        return Choice(NONE, f"no temperature: {of} do not prove that one helps: {change}")
    return Choice(fit(labels, logits), f"a temperature is proven to help by {of}: {change}")


def _gains(labels: NDArray[np.integer], logits: NDArray[np.floating], folds: Ints) -> Floats:
    """How much lower each image's log loss is at the temperature of the other folds, float64 (N,)."""
    gains = np.zeros(len(labels))
    for number in range(FOLDS):
        tested = folds == number
        fitted = fit(labels[~tested], logits[~tested])
        gains[tested] = _losses(labels[tested], logits[tested], NONE) - _losses(
            labels[tested], logits[tested], fitted
        )
    return gains


def _losses(labels: NDArray[np.integer], logits: NDArray[np.floating], temperature: float) -> Floats:
    from scipy.special import log_softmax

    log_probabilities = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    return -np.asarray(log_probabilities[np.arange(len(labels)), labels], np.float64)


def fit(labels: NDArray[np.integer], logits: NDArray[np.floating], *, overwrite: bool = False) -> float:
    """The temperature with the lowest log loss on held-out images; above 1 for an over-confident model.

    The target of each label is (N + 1) / (N + 2), the rule of succession: N correct images do not prove that
    the next one is correct. With a target of 1, the best temperature of a model without mistakes would be the
    lower limit.

    Args:
        labels: Integers (N,), 0..C-1, of images that are neither training nor test images.
        logits: Floats (N, C); logarithms of probabilities work too.
        overwrite: Whether the logits, which are float32, may be overwritten; it saves a copy of them.

    Returns:
        0.05..20; 1 leaves the probabilities unchanged.
    """
    from scipy.optimize import brentq

    # float32 is enough: the root of a slope that is wrong by 1e-6 is as wrong.
    values = np.asarray(logits, np.float32) if overwrite else np.empty(logits.shape, np.float32)
    for part in blocks.rows(values):
        np.subtract(logits[part], logits[part].max(axis=1, keepdims=True), out=values[part])
    count, classes = values.shape
    smoothing = 1 / (count + 2)
    label_logit = values[np.arange(count), labels].astype(np.float64)
    other_logits = (values.sum(axis=1, dtype=np.float64) - label_logit) / max(classes - 1, 1)
    target_logit = float(((1 - smoothing) * label_logit + smoothing * other_logits).mean())

    def slope(log_temperature: float) -> float:
        return target_logit - _expected_logit(values, np.exp(-log_temperature))

    ends = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    if count >= 4 * SAMPLE:  # the temperature of some images tells where to look
        near = np.log(fit(labels[:: count // SAMPLE], logits[:: count // SAMPLE]))
        if slope(near - NEAR) < 0 < slope(near + NEAR):
            return float(np.exp(brentq(slope, near - NEAR, near + NEAR, xtol=1e-6)))
    if slope(ends[0]) >= 0:  # the loss is convex in 1 / temperature: it falls up to this end
        return MIN_TEMPERATURE
    if slope(ends[1]) <= 0:
        return MAX_TEMPERATURE
    return float(np.exp(brentq(slope, *ends, xtol=1e-6)))


def _expected_logit(values: NDArray[np.float32], scale: float) -> float:
    """The mean logit that is expected if the probabilities at this scale of the logits are true.

    Args:
        values: float32 (N, C), logits less the largest of each row.
        scale: One over the temperature.
    """
    total = 0.0
    for part in blocks.rows(values):
        powers = np.exp(values[part] * np.float32(scale))
        weighted = np.einsum("nc,nc->n", powers, values[part])
        total += float((weighted.astype(np.float64) / powers.sum(axis=1)).sum())
    return total / len(values)
