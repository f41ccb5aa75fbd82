"""Drift: whether a batch of images is like those that a model was validated on.

Each number that is known of an image (`model.profile`) is compared by a two-sample Kolmogorov-Smirnov test,
and the tests share one error rate by Holm's method (S. Holm, "A Simple Sequentially Rejective Multiple Test
Procedure", 1979): with images of the same kind, no more than one batch in a hundred is called drifted,
however many numbers there are and however they hang together. Univariate tests of what a model says,
corrected for their number, did best in S. Rabanser et al., "Failing Loudly: An Empirical Study of Methods for
Detecting Dataset Shift", NeurIPS 2019. A difference that is proven but tiny, as any is between batches large
enough, is not called drift: the tests' own distance is the effect size, and must be at least
`MIN_KS_DISTANCE`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALPHA = 0.01  # false alarms among batches of the same kind; a nightly one is wrong about four times a year
MIN_KS_DISTANCE = 0.1  # Kolmogorov-Smirnov distance
FEWEST = 20  # images of a sample; fewer show hardly anything
EXACT = 500  # images up to which the test's distribution is computed instead of its limit
METHOD = "two-sample Kolmogorov-Smirnov tests, Holm's correction (Rabanser et al., 2019)"
# Least difference of the means besides, where the unit is known: of a model that is nearly always sure, the
# confidences lie so close together that their order alone says nothing. 2 points of expected accuracy.
MIN_MEAN_CHANGE = {"confidence": 0.02}
UNITS = {
    "brightness": "mean light, 0..255",
    "contrast": "standard deviation of the light",
    "red": "mean red, 0..255",
    "green": "mean green, 0..255",
    "blue": "mean blue, 0..255",
    "sharpness": "deviation of the Laplacian",
    "pixels": "height times width as it came",
    "shape": "width by height as it came",
    "confidence": "probability of the predicted class",
    "embedding_distance": "from the centre of the training images, as the model sees them",
}

Values = NDArray[np.floating]
Numbers = Mapping[str, Values]


@dataclass(frozen=True)
class FeatureShift:
    """One number of the images, compared.

    Args:
        feature: Its name.
        distance: Kolmogorov-Smirnov: the largest difference between the shares of images below any value,
            0..1; the least share of images that must differ.
        p_value: Of the test, corrected for the number of tests.
        before, now: Medians of the profile and of the batch.
        drifted: Whether the difference is proven and large enough.
    """

    feature: str
    distance: float
    p_value: float
    before: float
    now: float
    drifted: bool


@dataclass(frozen=True)
class Drift:
    """A batch against a profile.

    Args:
        shifts: The numbers compared, the largest distance first; empty if nothing could be compared.
        profile, images: Images of the profile and of the batch that were compared.
        why_not: Why nothing could be compared; else empty.
    """

    shifts: tuple[FeatureShift, ...]
    profile: int
    images: int
    why_not: str = ""

    @property
    def drifted(self) -> tuple[FeatureShift, ...]:
        return tuple(shift for shift in self.shifts if shift.drifted)

    def __str__(self) -> str:
        if self.why_not:
            return f"not compared: {self.why_not}"
        compared = f"{self.images:,} images against {self.profile:,}"
        if not self.drifted:
            return f"no drift: none of {len(self.shifts)} numbers differs by more than chance ({compared})"
        parts = [f"{in_words(shift)}" for shift in self.drifted[:3]]
        more = len(self.drifted) - len(parts)
        return f"DRIFT: {'; '.join(parts)}{f'; and {more} more' if more else ''} ({compared})"

    def record(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "detected": bool(self.drifted),
            "words": str(self),
            "method": METHOD,
            "false_alarm_rate": ALPHA,
            "least_distance": MIN_KS_DISTANCE,
            "profile_images": self.profile,
            "images": self.images,
            "shifts": [asdict(shift) for shift in self.shifts],
        }


def compare(profile: Numbers, batch: Numbers) -> Drift:
    """Compare the numbers of a batch's images with those of a model's profile.

    Args:
        profile, batch: By name, one value an image; images of which nothing is known are left out before.
    """
    names = [name for name in profile if name in batch]
    sizes = _images(profile), _images(batch)
    if min(sizes) < FEWEST:
        what = "validation images" if sizes[0] < FEWEST else "readable images"
        return Drift((), *sizes, why_not=f"{min(sizes)} {what} are too few, at least {FEWEST} are needed")
    tested = [_kolmogorov_smirnov(profile[name], batch[name]) for name in names]
    corrected = holm([p_value for _, p_value in tested])
    shifts = [
        _shift(name, profile[name], batch[name], distance, p_value)
        for name, (distance, _), p_value in zip(names, tested, corrected, strict=True)
    ]
    return Drift(tuple(sorted(shifts, key=lambda shift: -shift.distance)), *sizes)


def _shift(name: str, before: Values, now: Values, distance: float, p_value: float) -> FeatureShift:
    moved = abs(float(np.mean(now, dtype=np.float64) - np.mean(before, dtype=np.float64)))
    drifted = p_value <= ALPHA and distance >= MIN_KS_DISTANCE and moved >= MIN_MEAN_CHANGE.get(name, 0)
    return FeatureShift(name, distance, p_value, float(np.median(before)), float(np.median(now)), drifted)


def _images(numbers: Numbers) -> int:
    return len(next(iter(numbers.values()), ()))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number: each is below a rate if Holm's method rejects at that rate."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return [float(value) for value in corrected]


def in_words(shift: FeatureShift) -> str:
    """One number's drift in words.

    >>> in_words(Shift("brightness", 0.42, 1e-9, 121.25, 163.0, True))
    'brightness 121 -> 163 (distance 0.42)'
    """
    return f"{shift.feature} {shift.before:.3g} -> {shift.now:.3g} (distance {shift.distance:.2f})"


def _kolmogorov_smirnov(one: Values, other: Values) -> tuple[float, float]:
    """Distance and p-value; equal values make the test only more careful."""
    from scipy.stats import (
        ks_2samp,  # late: scipy takes half a second that a run with nothing new doesn't need
    )

    method = "exact" if max(len(one), len(other)) <= EXACT else "asymp"
    found = ks_2samp(one, other, method=method)
    return float(found.statistic), float(found.pvalue)
