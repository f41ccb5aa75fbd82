"""Intervals and a paired test for images that come in groups: bursts of a camera, patients, videos.

Images of one group are alike, so ten of them tell less than ten of ten groups. Each interval is as wide as
the differences between groups make it. Sources: delete-one-group jackknife: J. MacKinnon, M. Nielsen, M.
Webb, "Fast and reliable jackknife and bootstrap methods for cluster-robust inference", J. Applied
Econometrics 38 (2023); effective sample size in an interval of a rate: E. Korn, B. Graubard, Survey
Methodology 24 (1998); degrees of freedom: F. Satterthwaite, Biometrics Bulletin 2 (1946), as R. Bell and D.
McCaffrey, Survey Methodology 28 (2002), use them; the exact distribution of the test: M. Pagano, D.
Tritchler, "On obtaining permutation distributions in polynomial time", JASA 78 (1983).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import intervals
from tasks.core.metrics.intervals import BLOCK, LEVEL, Floats, Ints

ROUNDING = 1e-12  # differences below are none
MANY = 1000  # groups; the sums of more that are drawn at random are normal
FEW = 6  # groups that differ; with fewer, no choice of signs is rarer than 1 in 32, so 2.5 % is out of reach


def totals(groups: Ints, values: NDArray[np.generic]) -> Floats:
    """Sums of each group, float64 (G,).

    Args:
        groups: int64 (N,), the group of each image; any integers.
        values: Numbers (N,), one per image.
    """
    _, codes = np.unique(groups, return_inverse=True)
    return np.asarray(np.bincount(codes, weights=np.asarray(values, np.float64)), np.float64)


def sizes_of(groups: Ints) -> Floats:
    """Images of each group, float64 (G,)."""
    return totals(groups, np.ones(len(groups)))


def degrees(sizes: Floats) -> float:
    """Degrees of freedom of a variance between groups: G - 1 for equal sizes, fewer for unequal ones.

    Args:
        sizes: float64 (G,), the images of each group.
    """
    return max(1.0, float((sizes**2).sum() ** 2 / (sizes**4).sum()) - 1)


def quantile(sizes: Floats, level: float = LEVEL) -> float:
    """Student's t quantile for a two-sided interval with these groups; infinite for a single group.

    Args:
        sizes: float64 (G,), the images of each group.
        level: Of the interval, 0..1.
    """
    from scipy.special import stdtrit  # imported here: scipy takes 0.5 s, and a reused stage needs none of it

    return float(stdtrit(degrees(sizes), 0.5 + level / 2)) if len(sizes) > 1 else np.inf


def mean_variance(sums: Floats, sizes: Floats) -> float:
    """Jackknife variance of the mean over images; infinite for one group.

    Args:
        sums: float64 (G,), the sum of the values of each group.
        sizes: float64 (G,), the images of each group.
    """
    if len(sizes) < 2:
        return np.inf
    left_out = (sums.sum() - sums) / (sizes.sum() - sizes)
    return float((len(sizes) - 1) / len(sizes) * np.square(left_out - sums.sum() / sizes.sum()).sum())


def mean_error(sums: Floats, sizes: Floats) -> float:
    """Standard error of a mean difference; with fewer than `FEW` groups that differ, as if one more did.

    Args:
        sums: float64 (G,), the sum of the differences of each group.
        sizes: float64 (G,), the images of each group.
    """
    variance = mean_variance(sums, sizes)
    if np.count_nonzero(sums) < FEW:
        variance += np.square(sizes).mean() / sizes.sum() ** 2
    return float(np.sqrt(variance))


def effective_size(hits: Floats, sizes: Floats) -> float:
    """How many independent images tell as much about a rate as these groups do.

    Where the groups don't differ, as with no mistake at all, each counts as one image.

    Args:
        hits: float64 (G,), successes of each group.
        sizes: float64 (G,), images of each group.

    Returns:
        1..N.
    """
    share, count = hits.sum() / sizes.sum(), sizes.sum()
    variance = mean_variance(hits, sizes)
    if variance < ROUNDING:
        return float(count**2 / np.square(sizes).sum())
    return float(np.clip(share * (1 - share) / variance, 1, count))


def rate(correct: NDArray[np.bool_], groups: Ints, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a share of images: Wilson's score interval at the effective sample size.

    Args:
        correct: bool (N,); N = 0 gives NaN.
        groups: int64 (N,).
        level: Of the interval, 0..1.
    """
    if not len(correct):
        return np.nan, np.nan
    hits, sizes = totals(groups, correct), sizes_of(groups)
    z = quantile(sizes, level)
    if np.isinf(z):
        return 0.0, 1.0
    share, n = hits.sum() / sizes.sum(), effective_size(hits, sizes)
    low, high = wilson_ends(share, n, z)
    return float(low), float(high)


def wilson_ends(share: Any, n: Any, z: Any) -> tuple[Floats, Floats]:
    """Wilson's interval of shares at effective sizes n and quantiles z, float64 of any one shape."""
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half_width = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.where(share == 0, 0.0, centre - half_width), np.where(share == 1, 1.0, centre + half_width)


def mean(values: Floats, groups: Ints) -> tuple[float, float]:
    """The 95 % interval of a mean over images, by the jackknife over groups.

    Args:
        values: float64 (N,).
        groups: int64 (N,).
    """
    sums, sizes = totals(groups, values), sizes_of(groups)
    half_width = quantile(sizes) * np.sqrt(mean_variance(sums, sizes))
    centre = sums.sum() / sizes.sum()
    return float(centre - half_width), float(centre + half_width)


def difference(sums: Floats, sizes: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The interval of a difference of two rates on the same images, -1..1.

    Where fewer than `FEW` groups differ, the variance has one more group that differs (as A. Agresti, Y. Min,
    Statistics in Medicine 24, 2005, do for images): that no group differs does not prove a difference of 0.

    Args:
        sums: float64 (G,), images won minus images lost, of each group.
        sizes: float64 (G,), images of each group.
        level: Of the interval, 0..1.
    """
    if len(sizes) < 2:
        return -1.0, 1.0
    half_width = quantile(sizes, level) * mean_error(sums, sizes)
    centre = sums.sum() / sizes.sum()
    return float(max(-1.0, centre - half_width)), float(min(1.0, centre + half_width))


def jackknife(values: Floats, left_out: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Intervals of figures from what they are without each group.

    Args:
        values: float64 (K,), up to 1.
        left_out: float64 (G, K), the same without each group.
        sizes: float64 (G,), images of each group.

    Returns:
        Lower and upper ends, float64 (K,), up to 1, from 0 for values above 0. A figure that a single group
        decides has 0 and 1.
    """
    differences = left_out - values
    touching = (np.abs(differences) > ROUNDING).sum(axis=0)
    return ends(values, np.square(differences).sum(axis=0), touching, sizes)


def ends(values: Floats, squares: Floats, touching: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """The intervals of `jackknife`, from sums over the groups.

    Args:
        values: float64 (K,), up to 1.
        squares: float64 (K,), the squared differences that leaving a group out makes, summed; NaN where one
            leaves nothing to measure on.
        touching: Numbers (K,), how many groups make a difference.
        sizes: float64 (G,), images of each group.
    """
    from scipy.special import stdtrit

    count = len(sizes)
    spread = np.sqrt((count - 1) / count * squares)
    freedom = np.maximum(1, np.minimum(degrees(sizes), touching - 1))
    half_width = stdtrit(freedom, 0.5 + LEVEL / 2) * spread
    # NaN: without one group there is no image left to measure on. No spread: nothing is known of it.
    unknown = ~np.isnan(values) & (np.isnan(half_width) | (count < 2))
    low = np.where(unknown, 0.0, np.maximum(values - half_width, np.where(values < 0, -1.0, 0.0)))
    high = np.where(unknown, 1.0, np.minimum(values + half_width, 1.0))
    return low, high


def resampled_sums(sums: Floats) -> Floats:
    """Totals of groups drawn with replacement (the cluster bootstrap), float64 (resamples, K).

    Of more than `MANY` groups, the totals are drawn from the normal distribution that they then have.

    Args:
        sums: float64 (G, K), K sums of each group.
    """
    generator, count, resamples = np.random.default_rng(intervals.SEED), len(sums), intervals.RESAMPLES
    if count > MANY:
        spread = count * np.cov(sums.T, bias=True)
        return generator.multivariate_normal(sums.sum(axis=0), spread, resamples, method="eigh")
    step, blocks = max(1, BLOCK // count), []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(0, count, (size, count)) + count * np.arange(size)[:, None]
        blocks.append(np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count) @ sums)
    return np.concatenate(blocks)


def flip_p_value(differences: Floats) -> float:
    """One-sided p-value of the paired permutation test that flips whole groups, 0..1.

    If both models are equal, each group's difference is as likely with the opposite sign. The distribution of
    the sum over all 2^G choices of signs is computed exactly, by convolution over the sizes of the
    differences. With groups of one image the test is McNemar's exact test, one-sided.

    Args:
        differences: float64 (G,), images won minus images lost of each group; whole numbers.
    """
    from scipy.signal import convolve
    from scipy.stats import binom

    sizes, counts = np.unique(np.abs(np.rint(differences)).astype(np.int64), return_counts=True)
    distribution = np.ones(1)  # of the sum, from -total to total in steps of 2
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        if size:
            positive = np.zeros(size * count + 1)
            positive[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
            distribution = convolve(distribution, positive)
    observed = int((np.rint(differences).sum() + np.abs(np.rint(differences)).sum()) // 2)
    return float(np.clip(distribution[observed:].sum(), 0, 1))
