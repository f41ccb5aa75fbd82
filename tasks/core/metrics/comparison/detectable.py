"""How much a test set can tell: the smallest difference of two models that the paired test finds.

The power of McNemar's exact test is summed over the number of images on which the two models disagree
(S. W. Duffy, "Asymptotic and exact power for the McNemar test", Statistics in Medicine 3, 1984; the
approximation in closed form: R. J. Connor, Biometrics 43, 1987). It depends on the discordant share: the
share of images that exactly one of the two models predicts correctly.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import cluster
from tasks.core.metrics.comparison import binomial
from tasks.core.metrics.comparison.paired import ALPHA

LEVELS = (0.5, 0.8)  # power: as likely missed as found, and the field's usual one
STEPS = 30  # of the bisection: 1e-9 of a difference
DEVIATIONS = 8.0  # of the number of discordant images that the sum covers


@dataclass(frozen=True)
class Detectable:
    """The differences that a test set can tell.

    Args:
        images: Number of test images.
        independent: How many independent images tell as much; fewer where images belong together.
        discordant: Share of images that exactly one of the two models predicts correctly, 0..1.
        assumed: Whether the share is assumed, for lack of a second model, and not observed.
        half: Difference of accuracies that is found in 50 % of cases, 0..1; None if none is.
        most: Difference that is found in 80 % of cases, 0..1; None if none is.
    """

    images: int
    independent: float
    discordant: float
    assumed: bool
    half: float | None
    most: float | None

    def record(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def of_outcomes(correct: NDArray[np.bool_], groups: NDArray[np.int64] | None = None) -> Detectable:
    """What a test set tells of two models of one accuracy whose mistakes are independent.

    Models of one kind share mistakes, so that they disagree less and smaller differences are found: the
    result is an upper bound.

    Args:
        correct: bool (N,), which images one of them predicts correctly; N > 0.
        groups: Integers (N,), images that belong together; None if each image is alone.
    """
    images = len(correct)
    rate = (int(correct.sum()) + 1) / (images + 2)  # the rule of succession: no model is never wrong
    independent = float(images)
    if groups is not None:
        independent = cluster.effective_size(cluster.totals(groups, correct), cluster.sizes_of(groups))
    return _detectable(2 * rate * (1 - rate), images, independent, assumed=True)


def of_comparison(discordant: int, images: int, independent: float | None = None) -> Detectable:
    """What a test set tells of two models that were compared on it.

    Args:
        discordant: Number of images that exactly one of the two models predicts correctly.
        images: Number of test images, above 0.
        independent: How many independent images tell as much; None for all.
    """
    share = max(discordant, 1) / images
    return _detectable(share, images, images if independent is None else independent, assumed=False)


def sentence(detectable: Detectable) -> str:
    """What the test set can tell, for a report.

    >>> sentence(Detectable(48, 48, 0.255, True, 0.152, 0.215)).split(', ')[1]
    'a difference below 15 points is more likely missed than found'
    >>> sentence(Detectable(5, 5, 0.3, True, None, None))
    '5 images: no difference between two models can be proven'
    """
    count = f"{detectable.images:,} image{'s' * (detectable.images != 1)}"
    if round(detectable.independent) < detectable.images:
        count += f", which tell as much as {max(round(detectable.independent), 1):,} independent ones"
    if detectable.half is None:
        return f"{count}: no difference between two models can be proven"
    half = f"a difference below {_points(detectable.half)} points is more likely missed than found"
    if detectable.most is None:
        return f"{count}: between two models, {half}, and none is found in 80 % of cases"
    most = f"one of {_points(detectable.most)} points is found in 80 % of cases"
    return f"{count}: between two models, {half}, and {most}"


def basis(detectable: Detectable) -> str:
    """What the differences follow from, for a report."""
    share = f"{detectable.discordant * 100:.0f} %"
    if detectable.assumed:
        return (
            f"two models of this accuracy whose mistakes are independent: they disagree on {share} of the"
            " images; models that share mistakes disagree less, so that smaller differences are found"
        )
    return f"the two models that were compared: they disagree on {share} of the images"


def power(difference: float, discordant: float, images: int) -> float:
    """The chance that McNemar's exact test, two-sided at 5 %, finds the better model; 0..1.

    Args:
        difference: Real difference of the accuracies, 0..1.
        discordant: Share of images that exactly one of the two models predicts correctly, 0..1; not below
            the difference.
        images: Number of test images.
    """
    counts, least, probability = _numbers(discordant, images)
    better = (1 + difference / discordant) / 2 if discordant else 0.5
    found = binomial.at_least(least, counts, better)
    return float((probability * found).sum())


@lru_cache(2)  # a search asks for many differences at one discordant share
def _numbers(
    discordant: float, images: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Numbers of discordant images, for each how many must favour one model for p < 0.05, and its chance."""
    centre, spread = images * discordant, DEVIATIONS * np.sqrt(images * discordant) + DEVIATIONS
    counts = np.arange(max(0, int(centre - spread)), min(images, int(centre + spread)) + 1)
    return counts, binomial.critical(counts, ALPHA / 2), binomial.exactly(counts, images, discordant)


def images_for(difference: float, discordant: float) -> int:
    """How many test images find a difference of two models in 80 % of cases, by Connor's approximation.

    Args:
        difference: Real difference of the accuracies, 0..1, above 0.
        discordant: Share of images that exactly one of the two models predicts correctly, 0..1.

    Returns:
        The number with two significant digits.
    """
    from scipy.special import ndtri

    share = max(discordant, difference)
    deviations = ndtri(1 - ALPHA / 2) * share**0.5 + ndtri(LEVELS[1]) * (share - difference**2) ** 0.5
    needed = (deviations / difference) ** 2
    return round(float(f"{needed:.1e}"))


def _detectable(discordant: float, images: int, independent: float, *, assumed: bool) -> Detectable:
    half, most = (_least_difference(level, discordant, max(round(independent), 1)) for level in LEVELS)
    return Detectable(images, independent, discordant, assumed, half, most)


def _least_difference(level: float, discordant: float, images: int) -> float | None:
    """The smallest difference with that power. One above the discordant share needs as many discordant."""

    def is_found(difference: float) -> bool:
        return power(difference, max(discordant, difference), images) >= level

    low, high = 0.0, 1.0
    if not is_found(high):
        return None
    if 0 < discordant < 1 and is_found(discordant):  # no larger difference need be tried
        high = discordant
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_found(middle) else (middle, high)
    return high


def _points(share: float) -> str:
    points = share * 100
    return f"{points:.0f}" if points >= 10 else f"{points:.1f}"
