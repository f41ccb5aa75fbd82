"""Intervals of classes' figures from the differences between groups, without a table for each group.

The jackknife of `cluster` leaves one group out at a time. That changes the figures of the classes that the
group has images of, and no others, so that the cost is that of the images, not groups times classes squared.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import cluster
from tasks.core.metrics.intervals import LEVEL, Floats, Ints


@dataclass(frozen=True)
class ClassCounts:
    """Images by group and class: one entry, of E, for each group and class that have any.

    Args:
        group, label: int64 (E,), the group and the class of an entry.
        hits: float64 (E,), correct images of the class.
        labels: float64 (E,), images with this label.
        predicted: float64 (E,), images with this prediction.
        sizes: float64 (G,), images of each group.
        classes: Number C of classes.
    """

    group: Ints
    label: Ints
    hits: Floats
    labels: Floats
    predicted: Floats
    sizes: Floats
    classes: int

    @classmethod
    def of(
        cls, labels: NDArray[np.integer], predicted: NDArray[np.integer], groups: Ints, classes: int
    ) -> "ClassCounts":
        """Count.

        Args:
            labels, predicted: Integers (N,), 0..C-1; N > 0.
            groups: int64 (N,).
            classes: Number C of classes.
        """
        codes = np.unique(groups, return_inverse=True)[1].astype(np.int64)
        keys = codes * classes + labels, codes * classes + predicted
        entries, numbers = np.unique(np.concatenate(keys), return_inverse=True)
        by_label, by_prediction = np.split(numbers, 2)

        def count(chosen: Ints) -> Floats:
            return np.bincount(chosen, minlength=len(entries)).astype(np.float64)

        hits = count(by_label[labels == predicted])
        counts = hits, count(by_label), count(by_prediction)
        return cls(*np.divmod(entries, classes), *counts, np.bincount(codes).astype(np.float64), classes)

    def by_class(self, values: Floats) -> Floats:
        """Sums of each class, float64 (C,)."""
        return np.asarray(np.bincount(self.label, values, self.classes), np.float64)


def of_f1(counts: ClassCounts) -> tuple[Floats, Floats]:
    """Intervals of each class' F1, float64 (C,) each; see `cluster.jackknife`."""
    values, left_out = _left_out(counts, 2 * counts.hits, counts.labels + counts.predicted)
    differences = left_out - values[counts.label]
    touching = counts.by_class((np.abs(differences) > cluster.ROUNDING).astype(np.float64))
    return cluster.ends(values, counts.by_class(np.square(differences)), touching, counts.sizes)


def of_means(counts: ClassCounts) -> tuple[Floats, Floats]:
    """Intervals of macro-F1 and balanced accuracy, float64 (2,) each; see `cluster.jackknife`."""
    figures = (2 * counts.hits, counts.labels + counts.predicted), (counts.hits, counts.labels)
    values, left_out = zip(*(_mean_left_out(counts, *figure) for figure in figures), strict=True)
    return cluster.jackknife(np.array(values), np.stack(left_out, axis=1), counts.sizes)


def of_recall(counts: ClassCounts) -> tuple[Floats, Floats]:
    """Intervals of each class' recall as `cluster.rate` gives them, float64 (C,) each; NaN without images."""
    from scipy.special import stdtrit  # imported here: a reused stage needs none of it

    held = counts.labels > 0
    label, hits, sizes = counts.label[held], counts.hits[held], counts.labels[held]

    def by_class(values: Floats) -> Floats:
        return np.asarray(np.bincount(label, values, counts.classes), np.float64)

    groups, images, found = by_class(np.ones(len(label))), by_class(sizes), by_class(hits)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = found / images
        left_out = (found[label] - hits) / (images[label] - sizes)
        variance = (groups - 1) / groups * by_class(np.square(left_out - share[label]))
        alike = images**2 / by_class(sizes**2)
        n = np.where(variance < cluster.ROUNDING, alike, np.clip(share * (1 - share) / variance, 1, images))
        freedom = np.maximum(1, by_class(sizes**2) ** 2 / by_class(sizes**4) - 1)
        low, high = cluster.wilson_ends(share, n, stdtrit(freedom, 0.5 + LEVEL / 2))
    alone = groups == 1
    return np.where(alone, 0.0, low), np.where(alone, 1.0, high)


def _left_out(counts: ClassCounts, numerator: Floats, denominator: Floats) -> tuple[Floats, Floats]:
    """A ratio of each class (C,), and that of each entry's class without the entry (E,); NaN where 0/0."""
    above, below = counts.by_class(numerator), counts.by_class(denominator)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = above / below
        return values, (above[counts.label] - numerator) / (below[counts.label] - denominator)


def _mean_left_out(counts: ClassCounts, numerator: Floats, denominator: Floats) -> tuple[float, Floats]:
    """The mean of a ratio over the classes that have it, and without each group, float64 (G,)."""
    values, left_out = _left_out(counts, numerator, denominator)
    has = denominator > 0
    group, before, after = counts.group[has], values[counts.label[has]], left_out[has]
    lost, groups = np.isnan(after), len(counts.sizes)
    change = np.bincount(group, np.where(lost, 0.0, after) - before, groups)
    number = np.count_nonzero(~np.isnan(values)) - np.bincount(group, lost, groups)
    total = float(np.nansum(values))
    means = np.divide(total + change, number, out=np.full(groups, np.nan), where=number > 0)
    return float(np.nanmean(values)), means
