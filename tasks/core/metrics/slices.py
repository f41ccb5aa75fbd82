"""Whether a model is worse on a slice of the images than on the rest, at the same classes.

A slice is the images with one value of an attribute, such as all images of site B. A slice that has more of a
hard class is no worse for that, so images are only compared with images of their own class. Sources: exact
test of a common odds ratio of 1, conditional on each class's table: C. Mehta, N. Patel, R. Gray, "Computing
an exact confidence interval for the common odds ratio in several 2 x 2 contingency tables", JASA 80 (1985);
with one class it is Fisher's exact test. Groups: a permutation test of studentized sums (A. Janssen,
Statistics & Probability Letters 36, 1997). Many slices: `multiple_tests`. Direct standardization: K. Rothman,
"Epidemiology" (2012), chapter 9.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics.intervals import BLOCK, SEED, Floats, Ints

Bools = NDArray[np.bool_]
PERMUTATIONS = 9_999  # at least; 200 for each slice, so that Holm's smallest level is above 1 in PERMUTATIONS
TIE = 1e-9  # sums that differ by less are equal: rounding


def p_worse(correct: Bools, labels: Ints, members: Bools, groups: Ints | None = None) -> Floats:
    """One-sided p-values for "the slice is no worse than the rest at the same classes", 0..1.

    Without groups the test is exact. With groups, whole groups change places between slice and rest. Where
    groups have images on both sides, the signs of their contributions are flipped instead.

    Args:
        correct: bool (N,), whether each prediction is correct.
        labels: Integers (N,), the class of each image.
        members: bool (S, N), which images are in each of the S slices.
        groups: int64 (N,), which images belong together; None if each is by itself.

    Returns:
        float64 (S,); NaN where no class has images both in the slice and in the rest.
    """
    labels = np.unique(labels, return_inverse=True)[1]
    comparable = np.array([comparable_images(labels, member).any() for member in members], bool)
    values = np.full(len(members), np.nan)
    if not comparable.any():
        return values
    if groups is None:
        values[comparable] = [_exact(correct, labels, member) for member in members[comparable]]
    else:
        values[comparable] = _by_groups(correct, labels, members[comparable], groups)
    return values


def comparable_images(labels: Ints, member: Bools) -> Bools:
    """Which images of a slice have an image of their class in the rest, bool (N,)."""
    return np.asarray(member & np.isin(labels, labels[~member]))


def expected_accuracy(correct: Bools, labels: Ints, member: Bools) -> float:
    """The accuracy of the rest at the class shares of the slice (direct standardization), 0..1.

    Args:
        correct: bool (N,), whether each prediction is correct.
        labels: Integers (N,).
        member: bool (N,), which images are in the slice. Those of classes that the rest lacks do not count.

    Returns:
        NaN where no class is on both sides.
    """
    counted = comparable_images(labels, member)
    if not counted.any():
        return float("nan")
    classes, images = np.unique(labels[counted], return_counts=True)
    recalls = [correct[~member & (labels == label)].mean() for label in classes]
    return float(np.dot(recalls, images) / images.sum())


def _exact(correct: Bools, labels: Ints, member: Bools) -> float:
    """Probability of as many mistakes in the slice, given the mistakes and the sizes of each class."""
    from scipy.stats import hypergeom  # imported here: a reused run needs none of scipy's 0.5 s

    wrong = ~correct
    images, count = np.bincount(labels), int(labels.max()) + 1
    mistakes, inside = (np.bincount(labels[chosen], minlength=count) for chosen in (wrong, member))
    distribution, least = np.ones(1), 0  # of the mistakes in the slice, from `least` on
    for n, e, m in zip(images, mistakes, inside, strict=True):
        low, high = max(0, m + e - n), min(m, e)
        least += low
        if high > low:
            distribution = np.convolve(distribution, hypergeom.pmf(np.arange(low, high + 1), n, e, m))
    return float(min(1.0, distribution[int((wrong & member).sum()) - least :].sum()))


def _by_groups(correct: Bools, labels: Ints, members: Bools, groups: Ints) -> Floats:
    codes = np.unique(groups, return_inverse=True)[1]
    count = int(codes.max()) + 1
    sizes = np.bincount(codes)
    recalls = np.bincount(labels, correct) / np.bincount(labels)
    residuals = correct - recalls[labels]
    inside = np.stack([np.bincount(codes, member, count) for member in members])  # (S, G) images
    whole = ((inside == 0) | (inside == sizes)).all(axis=1)
    resamples = max(PERMUTATIONS, 200 * len(members))
    values = np.empty(len(members))
    if whole.any():
        sums = np.asarray(np.bincount(codes, residuals, count), np.float64)
        values[whole] = _permuted(sums, inside[whole] > 0, _main_class(codes, labels), resamples)
    if not whole.all():
        contributions = [_contributions(residuals, labels, member, codes) for member in members[~whole]]
        values[~whole] = _flipped(np.stack(contributions), resamples)
    return values


def _main_class(codes: Ints, labels: Ints) -> Ints:
    """The class of most images of each group, int64 (G,)."""
    pairs, counts = np.unique(np.stack([codes, labels]), axis=1, return_counts=True)
    order = np.lexsort((-counts, pairs[0]))
    return np.asarray(pairs[1][order][np.unique(pairs[0][order], return_index=True)[1]])


def _contributions(residuals: Floats, labels: Ints, member: Bools, codes: Ints) -> Floats:
    """What each group adds to the score statistic of a slice that parts groups, float64 (G,)."""
    shares = np.bincount(labels, member) / np.bincount(labels)
    return np.asarray(np.bincount(codes, (member - shares[labels]) * residuals))


def _permuted(sums: Floats, inside: Bools, strata: Ints, resamples: int) -> Floats:
    """P-values of slices of whole groups: groups of one main class change places.

    Args:
        sums: float64 (G,), correct minus expected images of each group.
        inside: bool (S, G), which groups are in each slice.
        strata: int64 (G,), the main class of each group.
        resamples: Number of permutations.
    """
    order = np.argsort(strata, kind="stable")
    strata, inside = np.unique(strata[order], return_inverse=True)[1], inside[:, order]
    ends = np.flatnonzero(np.diff(strata, append=strata[-1] + 1)) + 1
    groups_of = np.bincount(strata)
    centred = sums[order] - (np.bincount(strata, sums[order]) / groups_of)[strata]
    shares = np.stack([np.bincount(strata, row) / groups_of for row in inside])
    weights = inside - shares[:, strata]

    def statistic(rows: Floats) -> Floats:
        spread = np.sqrt(np.square(rows) @ np.square(weights).T)
        return np.asarray(rows @ weights.T / np.where(spread > TIE, spread, 1.0))

    observed, generator = statistic(centred[None])[0], np.random.default_rng(SEED)
    as_low, step = np.zeros(len(inside)), max(1, BLOCK // len(sums))
    for first in range(0, resamples, step):
        rows = np.repeat(centred[None], min(step, resamples - first), axis=0)
        for start, end in pairwise([0, *ends.tolist()]):
            rows[:, start:end] = generator.permuted(rows[:, start:end], axis=1)
        as_low += (statistic(rows) <= observed + TIE).sum(axis=0)
    return np.asarray((1 + as_low) / (1 + resamples))


def _flipped(contributions: Floats, resamples: int) -> Floats:
    """P-values of slices that part groups: each group's contribution (S, G) has either sign."""
    observed, generator = contributions.sum(axis=1), np.random.default_rng(SEED)
    count = contributions.shape[1]
    as_low, step = np.zeros(len(observed)), max(1, BLOCK // count)
    for first in range(0, resamples, step):
        shape = (min(step, resamples - first), count)
        signs = generator.integers(0, 2, shape, dtype=np.int8) * 2.0 - 1
        as_low += (signs @ contributions.T <= observed + TIE).sum(axis=0)
    return np.asarray((1 + as_low) / (1 + resamples))
