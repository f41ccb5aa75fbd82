"""Drift: whether a batch of images resembles the images that a model was validated on.

Each feature of the images (see `model.inference.profile`) is compared by a two-sample Kolmogorov-Smirnov
test. The tests share one error rate by Holm's method (`multiple_tests`): among batches of the same kind, at
most one in a hundred is reported as drifted, for any number of features and any correlation between them.
Univariate tests of a model's outputs, corrected for their number, did best in S. Rabanser et al., "Failing
Loudly: An Empirical Study of Methods for Detecting Dataset Shift", NeurIPS 2019. Between large batches even a
tiny difference is significant. The distance of the test is the effect size: a difference counts as drift only
if the distance is at least `MIN_KS_DISTANCE`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.metrics.multiple_tests import holm

ALPHA = 0.01  # rate of false alarms; a nightly batch then raises about four a year
MIN_KS_DISTANCE = 0.1  # Kolmogorov-Smirnov distance, 0..1
FEWEST = 20  # images of a sample; the test of a smaller one has hardly any power
EXACT = 500  # images up to which the exact distribution of the test is computed, not its limit
METHOD = "two-sample Kolmogorov-Smirnov tests, Holm's correction (Rabanser et al., 2019)"
# Smallest difference of the means that counts as drift. The confidences of a model that is nearly always
# certain lie so close together that their order alone means nothing. 0.02 is 2 points of expected accuracy.
MIN_MEAN_CHANGE = {"confidence": 0.02}
UNITS = {
    "brightness": "mean luma, 0..255",
    "contrast": "standard deviation of the luma",
    "red": "mean red, 0..255",
    "green": "mean green, 0..255",
    "blue": "mean blue, 0..255",
    "sharpness": "standard deviation of the Laplacian",
    "pixels": "height times width of the original image",
    "shape": "width divided by height of the original image",
    "confidence": "probability of the predicted class",
    "embedding_distance": "distance from the centre of the training images in the embedding space",
}

Values = NDArray[np.floating]
Features = Mapping[str, Values]


@dataclass(frozen=True)
class FeatureShift:
    """The comparison of one feature of the images.

    Args:
        feature: Name of the feature.
        distance: Kolmogorov-Smirnov distance, 0..1: the largest difference between the shares of images below
            any value. At least this share of the images differs.
        p_value: P-value of the test, 0..1, corrected for the number of tests.
        before: Median of the profile.
        now: Median of the batch.
        drifted: Whether the difference is significant and large enough.
    """

    feature: str
    distance: float
    p_value: float
    before: float
    now: float
    drifted: bool


@dataclass(frozen=True)
class Drift:
    """The comparison of a batch with a profile.

    Args:
        shifts: One comparison per feature, largest distance first; empty if nothing could be compared.
        profile: Number of images in the profile.
        images: Number of images of the batch that were compared.
        why_not: Why nothing could be compared; otherwise empty.
    """

    shifts: tuple[FeatureShift, ...]
    profile: int
    images: int
    why_not: str = ""

    @property
    def drifted(self) -> tuple[FeatureShift, ...]:
        """The features that drifted, largest distance first."""
        return tuple(shift for shift in self.shifts if shift.drifted)

    def __str__(self) -> str:
        if self.why_not:
            return f"not compared: {self.why_not}"
        compared = f"{shares.counted(self.images, 'image')} against {self.profile:,}"
        if not self.drifted:
            return f"no drift: none of {len(self.shifts)} features differs by more than chance ({compared})"
        parts = [f"{shift_text(shift)}" for shift in self.drifted[:3]]
        more = len(self.drifted) - len(parts)
        return f"DRIFT: {'; '.join(parts)}{f'; and {more} more' if more else ''} ({compared})"

    def record(self) -> dict[str, Any]:
        """The content of `_drift.json`: JSON values."""
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


def compare(profile: Features, batch: Features) -> Drift:
    """Compare the features of a batch's images with the features in a model's profile.

    Args:
        profile: By feature name, floats (N,), one value per validation image.
        batch: By feature name, floats (M,), one value per readable image.
    """
    names = [name for name in profile if name in batch]
    sizes = _images(profile), _images(batch)
    if min(sizes) < FEWEST:
        few = [
            shares.said(size, f"{kind} image", f"{kind} images")
            for kind, size in zip(("validation", "readable"), sizes, strict=True)
            if size < FEWEST
        ]
        return Drift((), *sizes, why_not=f"too few: {' and '.join(few)}; at least {FEWEST} are needed")
    tested = [_kolmogorov_smirnov(profile[name], batch[name]) for name in names]
    corrected = holm(np.array([p_value for _, p_value in tested])).tolist()
    shifts = [
        _shift(name, profile[name], batch[name], distance, p_value)
        for name, (distance, _), p_value in zip(names, tested, corrected, strict=True)
    ]
    return Drift(tuple(sorted(shifts, key=lambda shift: -shift.distance)), *sizes)


def _shift(name: str, before: Values, now: Values, distance: float, p_value: float) -> FeatureShift:
    mean_change = abs(float(np.mean(now, dtype=np.float64) - np.mean(before, dtype=np.float64)))
    drifted = p_value <= ALPHA and distance >= MIN_KS_DISTANCE and mean_change >= MIN_MEAN_CHANGE.get(name, 0)
    return FeatureShift(name, distance, p_value, float(np.median(before)), float(np.median(now)), drifted)


def _images(numbers: Features) -> int:
    """Number of images that the features were computed from."""
    return len(next(iter(numbers.values()), ()))


def shift_text(shift: FeatureShift) -> str:
    """A feature's drift as text.

    >>> shift_text(FeatureShift("brightness", 0.42, 1e-9, 121.25, 163.0, True))
    'brightness 121 -> 163 (distance 0.42)'
    >>> shift_text(FeatureShift("pixels", 1.0, 1e-9, 1024.0, 60000.0, True))
    'pixels 1,024 -> 60,000 (distance 1.00)'
    """
    before, now = value_text(shift.before), value_text(shift.now)
    return f"{shift.feature} {before} -> {now} (distance {shift.distance:.2f})"


def value_text(value: float, digits: int = 3) -> str:
    """A feature's value with so many significant digits; large ones as a whole number, with commas."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def _kolmogorov_smirnov(first: Values, second: Values) -> tuple[float, float]:
    """Distance and p-value; ties make the test more conservative."""
    # Imported here: scipy takes 0.5 s, and an unchanged run needs none of it.
    from scipy.stats import ks_2samp

    method = "exact" if max(len(first), len(second)) <= EXACT else "asymp"
    result = ks_2samp(first, second, method=method)
    return float(result.statistic), float(result.pvalue)
