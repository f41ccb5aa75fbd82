"""The metrics of a split, each declared once: every table, page and command shows what is declared here.

Nothing heavy is imported with this module, because the metrics tables take their columns from it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.core.metrics.declared.metric import NATS, PERCENT, SHARE, Figure, Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tasks.core.metrics.classification import Estimate

TOP = 5

METRICS = (
    Metric(
        *("accuracy", "accuracy", PERCENT, "share of the images whose prediction is correct"),
        estimate=lambda split: split.share(split.correct),
    ),
    Metric(
        *("top5_accuracy", "top-5 accuracy", PERCENT, "share with the true class among the 5 most probable"),
        estimate=lambda split: split.share(split.in_top(TOP)) if split.classes > TOP else None,
    ),
    Metric(
        *("macro_f1", "macro-F1", SHARE, "mean over the classes of F1: precision and recall in one"),
        estimate=lambda split: split.macro_f1(),
    ),
    Metric(
        *("balanced_accuracy", "balanced accuracy", PERCENT, "mean recall of the classes that occur"),
        estimate=lambda split: split.balanced_accuracy(),
    ),
    Metric(
        *("log_loss", "log loss", NATS, "how far the probabilities are off; 0 if each is sure and right"),
        estimate=lambda split: split.log_loss(),
    ),
)
# What needs no model, see `comparison.baseline`.
BASELINES = (
    Figure("majority_accuracy", "accuracy of the commonest class", PERCENT, "share of its images"),
    Figure("prior_log_loss", "log loss of the classes' shares", NATS, "the same answer to every image"),
)


def score(
    labels: "NDArray[np.integer]",
    probabilities: "NDArray[np.floating]",
    groups: "NDArray[np.int64] | None" = None,
    predicted: "NDArray[np.integer] | None" = None,
) -> "dict[str, Estimate]":
    """Every metric of a split with its interval.

    Args:
        labels: Integers (N,), 0..C-1.
        probabilities: Floats (N, C), 0..1; each row adds up to 1.
        groups: int64 (N,), which images belong together; None if each is by itself.
        predicted: Integers (N,), the decisions; None for the most probable class.

    Returns:
        By key, in the order of `METRICS`, those that are defined for the split.

    Raises:
        DataError: `classification.check` refuses the labels or the probabilities.
    """
    from tasks.core.metrics.declared.scored_split import ScoredSplit

    split = ScoredSplit.of(labels, probabilities, groups, predicted)
    estimates = {metric.key: metric.estimate(split) for metric in METRICS}
    return {key: estimate for key, estimate in estimates.items() if estimate is not None}


def figures(record: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures that a split's part of `metrics.json` has, by key, in its order.

    Figures that this version does not declare have their key as the title.

    Args:
        record: The part; other entries, such as the number of images, are skipped.

    >>> found = figures({"images": 9, "macro_f1": {"value": 0.5}, "new_metric": {"value": 0.5}})
    >>> {key: figure.title for key, figure in found.items()}
    {'macro_f1': 'macro-F1', 'new_metric': 'new metric'}
    """
    return {
        key: figure_of(key)
        for key, value in record.items()
        if isinstance(value, Mapping) and "value" in value
    }


def figure_of(key: str) -> Figure:
    """The declared figure; one with the key as its title if none is declared."""
    declared: dict[str, Figure] = {figure.key: figure for figure in (*METRICS, *BASELINES)}
    return declared.get(key, Figure(key, key.replace("_", " "), SHARE, ""))


def columns(prefix: str = "") -> list[tuple[str, str]]:
    """The columns of a table of scores, each with its meaning: value, low and high of each metric."""
    return [
        (f"{prefix}{metric.key}{end}", meaning)
        for metric in METRICS
        for end, meaning in (
            ("", f"{metric.title}, {'nats' if metric.unit == NATS else '0..1'}: {metric.meaning}"),
            ("_low", "lower end of its 95 % interval"),
            ("_high", "upper end of its 95 % interval"),
        )
    ]


def row(record: Mapping[str, Any], prefix: str = "") -> dict[str, float | None]:
    """The values of `columns` from a split's part of `metrics.json`; None where a metric is not defined."""
    return {
        f"{prefix}{metric.key}{end}": record.get(metric.key, {}).get(name)
        for metric in METRICS
        for end, name in (("", "value"), ("_low", "low"), ("_high", "high"))
    }
