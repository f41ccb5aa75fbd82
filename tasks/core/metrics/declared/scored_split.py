"""What a metric is estimated from: the labels and the predictions of a split, and ways to an interval."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import classification, cluster, intervals, left_out, table_intervals
from tasks.core.metrics.classification import Estimate, confusion
from tasks.core.metrics.intervals import Floats, Ints


@dataclass(frozen=True)
class ScoredSplit:
    """What the metrics of a split are estimated from, and the ways to estimate one with its interval.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1.
        predicted: int64 (N,), 0..C-1, the decisions.
        groups: int64 (N,), which images belong together; None if each is by itself.
    """

    labels: NDArray[np.integer]
    probabilities: NDArray[np.floating]
    predicted: Ints
    groups: Ints | None

    @classmethod
    def of(
        cls,
        labels: NDArray[np.integer],
        probabilities: NDArray[np.floating],
        groups: Ints | None = None,
        predicted: NDArray[np.integer] | None = None,
    ) -> "ScoredSplit":
        """Check the arrays.

        Args:
            labels: Integers (N,), 0..C-1.
            probabilities: Floats (N, C), 0..1.
            groups: int64 (N,), which images belong together; None if each is by itself.
            predicted: Integers (N,), 0..C-1, the decisions; None for the most probable classes.
        """
        classification.check(labels, probabilities)
        decided = (
            classification.predicted_classes(probabilities)
            if predicted is None
            else np.asarray(predicted, np.int64)
        )
        return cls(labels, probabilities, decided, groups)

    @property
    def classes(self) -> int:
        """Number C of classes."""
        return int(self.probabilities.shape[1])

    @cached_property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the decision is the label, bool (N,)."""
        return np.asarray(self.predicted == self.labels)

    @cached_property
    def matrix(self) -> Ints:
        """The confusion matrix, int64 (C, C)."""
        return confusion(self.labels, self.predicted, self.classes)

    def in_top(self, k: int) -> NDArray[np.bool_]:
        """As `classification.in_top`."""
        return classification.in_top(self.labels, self.probabilities, k)

    def share(self, true: NDArray[np.bool_]) -> Estimate:
        """The share of images for which something is true, bool (N,)."""
        share = float(np.mean(true))
        if self.groups is not None:
            return Estimate(share, *cluster.rate(true, self.groups), "cluster")
        low, high = intervals.clopper_pearson(np.asarray(true.sum()), np.asarray(len(true)))
        return Estimate(share, float(low), float(high), "exact")

    def mean(self, values: Floats, most: float) -> Estimate:
        """As `classification.mean`."""
        return classification.mean(values, most, self.groups)

    def log_loss(self) -> Estimate:
        """The mean of `classification.log_losses`."""
        losses = classification.log_losses(self.labels, self.probabilities)
        return self.mean(losses, -float(np.log(classification.FLOOR)))

    def macro_f1(self) -> Estimate:
        """The mean F1 of the classes that occur among labels or predictions."""
        return self._class_mean(0, classification.f1_of, table_intervals.of_macro_f1)

    def balanced_accuracy(self) -> Estimate:
        """The mean recall of the classes that occur among the labels."""
        return self._class_mean(1, classification.recall_of, table_intervals.of_balanced_accuracy)

    def of_table(self, statistic: Callable[[Ints], Floats]) -> Estimate:
        """A statistic without a formula for its interval: the bootstrap, or the jackknife over groups.

        Args:
            statistic: From confusion matrices int64 (B, C, C) to float64 (B,), up to 1.
        """
        value = float(statistic(self.matrix[None])[0])
        if self.groups is not None:
            tables = (self.matrix - part for part in self._matrices_of(self.groups))
            left_out = np.array([statistic(table[None]) for table in tables])
            ends = cluster.jackknife(np.array([value]), left_out, cluster.sizes_of(self.groups))
            return Estimate(value, float(ends[0][0]), float(ends[1][0]), "cluster")
        resampled = intervals.bootstrap_table(self.matrix, lambda tables: statistic(tables)[:, None])
        low, high = intervals.percentiles(resampled)
        return Estimate(value, float(low[0]), float(high[0]), "bootstrap")

    def _matrices_of(self, groups: Ints) -> Iterator[Ints]:
        for group in np.unique(groups):
            rows = groups == group
            yield confusion(self.labels[rows], self.predicted[rows], self.classes)

    def _class_mean(
        self,
        place: int,
        of_classes: Callable[[Ints], Floats],
        interval: Callable[[Ints], tuple[float, float]],
    ) -> Estimate:
        """A mean over classes; `place` is that of the figure in `left_out.of_means`."""
        value = float(np.nanmean(of_classes(self.matrix)))
        if self.groups is None:
            return Estimate(value, *interval(self.matrix), "classes")
        low, high = self._group_means
        return Estimate(value, float(low[place]), float(high[place]), "cluster")

    @cached_property
    def _group_means(self) -> tuple[Floats, Floats]:
        groups = np.arange(len(self.labels)) if self.groups is None else self.groups
        return left_out.of_means(left_out.ClassCounts.of(self.labels, self.predicted, groups, self.classes))
