"""What the declaration of a metric says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tasks.core import shares

if TYPE_CHECKING:
    from tasks.core.metrics.classification import Estimate
    from tasks.core.metrics.declared.scored_split import ScoredSplit

PERCENT, SHARE, NATS = "%", "0..1", "nats"


@dataclass(frozen=True)
class Figure:
    """A figure of a split as people see it.

    Args:
        key: Its name in `metrics.json` and in the tables.
        title: Its usual name.
        unit: `PERCENT` for a share that is shown in per cent, `SHARE` for one that is shown as it is, or
            `NATS`.
        meaning: What it is, in plain words.
    """

    key: str
    title: str
    unit: str
    meaning: str

    def text(self, value: float | None) -> str:
        """The value as text; a dash where it is undefined."""
        if value is None or value != value:
            return "–"
        if self.unit != PERCENT:
            return f"{value:.4f}"
        return shares.unbroken_percent(value)


@dataclass(frozen=True)
class Metric(Figure):
    """A figure of the model's predictions.

    Args:
        estimate: The value with its interval; None where the metric is not defined for such a split.
    """

    estimate: "Callable[[ScoredSplit], Estimate | None]"
