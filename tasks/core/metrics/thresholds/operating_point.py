"""Operating points: decisions by thresholds that keep a promise, or by the costs of mistakes.

Sources: rates with exact intervals: C. Clopper and E. Pearson, Biometrika 26, 1934; a threshold at an order
statistic, whose recall on new images has a known distribution: S. Wilks, Annals of Mathematical Statistics
12, 1941 (tolerance limits); the class with the lowest expected cost: C. Elkan, IJCAI 2001.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import intervals
from tasks.core.metrics.intervals import Floats, Ints

CONFIDENCE = 0.95  # of a promise: it holds on new images for 95 of 100 validation sets
CUTS = 10  # thresholds that are tried for a promised precision; they share the error probability
TIE = 1e-12  # relative difference of expected costs that is rounding


@dataclass(frozen=True)
class OperatingPoint:
    """How probabilities become decisions. It has either thresholds or costs.

    Args:
        thresholds: Pairs of a label and the probability, 0..1, from which on it is predicted. The first one
            that is reached decides. If none is, the most probable of the other classes is predicted.
        costs: C rows of C costs: the cost of predicting the column for an image of the row. The class with
            the lowest expected cost is predicted, of equal ones the most probable.
    """

    thresholds: tuple[tuple[int, float], ...] = ()
    costs: tuple[tuple[float, ...], ...] = ()

    def decide(self, probabilities: NDArray[np.floating]) -> Ints:
        """The predicted classes.

        Args:
            probabilities: Floats (N, C), 0..1.

        Returns:
            int64 (N,), 0..C-1.
        """
        if self.costs:
            return _cheapest(probabilities, np.array(self.costs, np.float64))
        labels = [label for label, _ in self.thresholds]
        others = np.array(probabilities)
        if len(labels) < others.shape[1]:
            others[:, labels] = -1
        decided = np.asarray(others.argmax(axis=1), np.int64)
        for label, threshold in reversed(self.thresholds):
            # float64: float32 would round the threshold, and an image at the threshold could be lost.
            decided[probabilities[:, label].astype(np.float64) >= threshold] = label
        return decided

    def record(self) -> dict[str, Any]:
        """The point as JSON values."""
        if self.costs:
            return {"costs": [list(row) for row in self.costs]}
        return {"thresholds": [list(pair) for pair in self.thresholds]}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "OperatingPoint":
        """The point of a `record`."""
        return cls(
            tuple((int(label), float(threshold)) for label, threshold in record.get("thresholds", ())),
            tuple(tuple(map(float, row)) for row in record.get("costs", ())),
        )


@dataclass(frozen=True)
class Promise:
    """What a threshold is proven to keep on new images, by validation images.

    Args:
        least: The promised recall or precision, 0..1.
        threshold: The threshold, 0..1; None if there is no image to choose one by.
        proven: The recall or precision that it keeps with 95 % confidence, 0..1.
        images: Validation images that decide it: those of the class for recall, all for precision.
        needed: The number of these that would be needed even without a mistake.
    """

    least: float
    threshold: float | None
    proven: float
    images: int
    needed: int

    @property
    def kept(self) -> bool:
        """Whether what was promised is proven."""
        return self.threshold is not None and self.proven >= self.least


def recall_threshold(scores: Floats, least: float, unproven: float = 1.0) -> Promise:
    """The highest threshold that is proven to keep a recall; if none is, the lowest score or `unproven`.

    The share of new images above the k-th lowest of n scores is distributed as Beta(n - k + 1, k), whatever
    the distribution of scores. k is the largest one for which that share reaches `least` with 95 %
    probability: which k does not depend on the scores, so the promise is exact.

    Args:
        scores: float64 (n,), the class's probability for the validation images of the class; -inf for images
            that an earlier threshold gives to another class.
        least: The promised recall, above 0 and below 1.
        unproven: The highest threshold where nothing is proven. At one over the number of classes, no image
            is lost that would have been found without a threshold: few scores of a sure model are all high.
    """
    from scipy.stats import beta, binom  # imported here: scipy takes 0.5 s, and reuse needs none of it

    count = len(scores)
    needed = int(np.ceil(np.log(1 - CONFIDENCE) / np.log(least) - 1e-9))
    ordered = np.sort(scores)
    if not count or np.isneginf(ordered[-1]):
        return Promise(least, None, 0.0, count, needed)
    missed = binom.cdf(np.arange(count), count, 1 - least)  # of 0, 1, ... images below the threshold
    k = max(1, int(np.sum(missed <= 1 - CONFIDENCE)))
    if np.isneginf(ordered[k - 1]):
        lowest = float(ordered[np.isfinite(ordered)][0])
        return Promise(least, min(lowest, unproven), 0.0, count, needed)
    proven = float(beta.ppf(1 - CONFIDENCE, count - k + 1, k))
    threshold = float(ordered[k - 1])
    if missed[k - 1] <= 1 - CONFIDENCE:  # the same as proven >= least, but for rounding
        return Promise(least, threshold, max(proven, least), count, needed)
    return Promise(least, min(threshold, unproven), proven, count, needed)


def precision_threshold(truth: NDArray[np.bool_], scores: Floats, least: float) -> Promise:
    """The lowest threshold that is proven to keep a precision; if none is, the one with the highest bound.

    Ten numbers k of images are tried. Given the score below the k highest ones, these are a sample of the new
    images above that score, so their precision has an exact (Clopper-Pearson) bound. The ten bounds share an
    error probability of 5 %.

    Args:
        truth: bool (N,), whether each validation image is of the class.
        scores: float64 (N,), the class's probability for all validation images; -inf for images that an
            earlier threshold gives to another class.
        least: The promised precision, above 0 and below 1.
    """
    from scipy.stats import beta

    alpha = (1 - CONFIDENCE) / CUTS
    needed = int(np.ceil(np.log(alpha) / np.log(least) - 1e-9))
    ordered = np.sort(scores[np.isfinite(scores)])[::-1]
    count = len(ordered)
    if not count or not truth[np.isfinite(scores)].any():
        return Promise(least, None, 0.0, len(scores), needed)
    tried: list[tuple[float, float]] = []
    for k in np.unique(np.geomspace(min(needed, count), count, CUTS).astype(int)):
        threshold = float(np.nextafter(ordered[k], 1)) if k < count else 0.0
        above = scores >= threshold
        hits = int(np.sum(truth & above))
        bound = float(beta.ppf(alpha, hits, above.sum() - hits + 1)) if hits else 0.0
        tried.append((bound, threshold))
    proven, threshold = max(tried)
    kept = [(bound, cut) for bound, cut in tried if bound >= least]
    if kept:
        proven, threshold = min(kept, key=lambda pair: pair[1])
    return Promise(least, threshold if proven else None, proven, len(scores), needed)


def clopper_pearson(hits: int, count: int, level: float = intervals.LEVEL) -> tuple[float, float]:
    """The exact interval of a rate; NaN of nothing.

    Args:
        hits: 0..count.
        count: Number of trials.
        level: The confidence, 0..1.
    """
    low, high = intervals.clopper_pearson(np.asarray(hits), np.asarray(count), level)
    return float(low), float(high)


def rates(
    truth: NDArray[np.bool_], predicted: NDArray[np.bool_], prevalence: float | None = None
) -> dict[str, Any]:
    """Sensitivity, specificity and predictive values of one class against the rest.

    Args:
        truth: bool (N,), whether each image is of the class.
        predicted: bool (N,), whether the class is predicted.
        prevalence: Share of the class, 0..1, for which the predictive values are wanted too.

    Returns:
        true_positives, false_positives, false_negatives, true_negatives; sensitivity, specificity, ppv and
        npv with `_low` and `_high` (Clopper-Pearson); with a prevalence also prevalence, ppv_at_prevalence
        and npv_at_prevalence with ends that hold jointly for sensitivity and specificity. NaN where 0/0.
    """
    found, false = int(np.sum(truth & predicted)), int(np.sum(~truth & predicted))
    missed, rejected = int(np.sum(truth & ~predicted)), int(np.sum(~truth & ~predicted))
    row: dict[str, Any] = {
        "true_positives": found,
        "false_positives": false,
        "false_negatives": missed,
        "true_negatives": rejected,
    }
    counts = {
        "sensitivity": (found, found + missed),
        "specificity": (rejected, rejected + false),
        "ppv": (found, found + false),
        "npv": (rejected, rejected + missed),
    }
    for name, (hits, count) in counts.items():
        ends = clopper_pearson(hits, count)
        row |= _estimate(name, hits / count if count else float("nan"), *ends)
    return row | (_at_prevalence(prevalence, counts) if prevalence is not None else {})


def _at_prevalence(prevalence: float, counts: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Predictive values at a prevalence. Both grow with both rates, so the ends give the ends."""
    each = 1 - (1 - intervals.LEVEL) / 2  # Bonferroni: two rates share the error probability
    values, lows, highs = [], [], []
    for name in ("sensitivity", "specificity"):
        hits, count = counts[name]
        low, high = clopper_pearson(hits, count, each)
        values.append(hits / count if count else float("nan"))
        lows.append(low)
        highs.append(high)
    row: dict[str, Any] = {"prevalence": prevalence}
    for name, formula in (("ppv", _ppv), ("npv", _npv)):
        value, low, high = (formula(pair[0], pair[1], prevalence) for pair in (values, lows, highs))
        row |= _estimate(f"{name}_at_prevalence", value, low, high)
    return row


def _ppv(sensitivity: float, specificity: float, prevalence: float) -> float:
    found, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    return found / (found + false) if found + false else float("nan")


def _npv(sensitivity: float, specificity: float, prevalence: float) -> float:
    rejected, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return rejected / (rejected + missed) if rejected + missed else float("nan")


def _estimate(name: str, value: float, low: float, high: float) -> dict[str, float]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _cheapest(probabilities: NDArray[np.floating], costs: Floats) -> Ints:
    probabilities = probabilities[:, : len(costs)]  # a model may know more classes than there are costs for
    expected = probabilities.astype(np.float64) @ costs
    near = expected.min(axis=1, keepdims=True) + TIE * np.abs(costs).max()
    return np.asarray(np.where(expected <= near, probabilities, -1).argmax(axis=1), np.int64)


def costs_of(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], costs: tuple[tuple[float, ...], ...]
) -> Floats:
    """The cost of each decision, float64 (N,)."""
    return np.asarray(costs, np.float64)[labels, predicted]
