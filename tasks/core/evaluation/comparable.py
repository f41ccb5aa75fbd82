"""What two models can be compared on: the test images of the classes that both know.

The champion's predictions are in the order of the run's classes, by name; classes that only the champion
knows follow them (`predict_splits`). A prediction of such a class is wrong for every image of the run.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.evaluation.evaluate import Scored
from tasks.core.metrics import cluster
from tasks.core.metrics.comparison import paired
from tasks.core.stage.handles import ModelVersion, TensorCache

MIN_SHARED = 2  # with one class in common, a model that always answers it would win
LISTED = 5  # class names in a sentence


@dataclass(frozen=True)
class ClassDifference:
    """How the classes of the champion and of the challenger differ.

    Args:
        new: Classes that only the challenger knows.
        lost: Classes that only the champion knows.
    """

    new: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @classmethod
    def between(cls, champion: tuple[str, ...], challenger: tuple[str, ...]) -> "ClassDifference":
        """The difference of two models' classes; their order does not matter."""
        return cls(
            tuple(name for name in challenger if name not in champion),
            tuple(name for name in champion if name not in challenger),
        )

    def rows(self, labels: NDArray[np.integer], classes: tuple[str, ...]) -> NDArray[np.bool_]:
        """Which test images both models can have right, bool (N,).

        Args:
            labels: Integers (N,), 0..C-1.
            classes: Names of the challenger's C classes.
        """
        return ~np.isin(labels, [classes.index(name) for name in self.new])

    def sentence(self, compared: int, images: int) -> str:
        """What was compared, as text; empty if all images were and no class is lost.

        >>> ClassDifference(new=("tulip",)).sentence(412, 500)
        'compared on 412 of 500 test images: the champion does not know tulip'
        """
        parts = []
        if self.new:
            parts.append(
                f"compared on {compared:,} of {shares.counted(images, 'test image')}: "
                f"the champion does not know {_listed(self.new)}"
            )
        if self.lost:
            parts.append(f"the challenger no longer knows {_listed(self.lost)}")
        return "; ".join(parts)


@dataclass(frozen=True)
class PairedOutcomes:
    """Both models' outcomes on the images that can be compared.

    Args:
        labels: int32 (n,), 0..C-1.
        challenger: bool (n,), whether each prediction of the challenger is correct.
        champion: bool (n,), whether each prediction of the champion is correct.
        groups: int64 (n,), which images belong together; None if each is by itself.
    """

    labels: NDArray[np.int32]
    challenger: NDArray[np.bool_]
    champion: NDArray[np.bool_]
    groups: NDArray[np.int64] | None

    @classmethod
    def of(cls, challenger: Scored, champion: Scored, rows: NDArray[np.bool_]) -> "PairedOutcomes":
        """The outcomes on some rows, bool (N,), of both models' scored images."""
        new, old = ((scored.predicted == scored.labels)[rows] for scored in (challenger, champion))
        groups = challenger.groups[rows] if challenger.groups is not None else None
        return cls(challenger.labels[rows], new, old, groups)

    @property
    def error(self) -> float:
        """Standard error of the difference in accuracy; if nothing differs, as if one image or group did."""
        sums = paired.differences(self.challenger, self.champion)
        if self.groups is not None:
            sums = cluster.totals(self.groups, sums)
        return sqrt(max(1.0, float(np.square(sums).sum()))) / len(self.labels)


def classes_of(champion: ModelVersion) -> tuple[str, ...]:
    """Names of the classes that a published model predicts."""
    return tuple(champion.manifest["facts"]["classes"])


def why_incomparable(champion: ModelVersion, tensors: TensorCache) -> str:
    """The reason why the champion cannot be compared on these tensors; empty if it can."""
    if tensors.grey_bits > champion.grey_bits:
        return f"it cannot read grey values of {tensors.grey_bits} bits, since it has {champion.grey_bits}"
    difference = ClassDifference.between(classes_of(champion), tensors.classes)
    shared = len(tensors.classes) - len(difference.new)
    if shared >= min(MIN_SHARED, len(tensors.classes)):
        return ""
    parts = [
        f"without {_listed(difference.new)}" if difference.new else "",
        f"with {_listed(difference.lost)}" if difference.lost else "",
    ]
    return f"it has other classes ({'; '.join(filter(None, parts))})"


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
