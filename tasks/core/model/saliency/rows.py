"""Which test images get maps: the surest mistakes, the lowest margins, and a few right ones of each class."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MISTAKES, MARGINS, RIGHT = 12, 12, 36  # most images of each kind
RIGHT_PER_CLASS = 3
NO_CLASS = -1
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Chosen:
    """A test image.

    Args:
        kind: "mistake", "margin" or "right".
        row: Its row among the test images.
        label, predicted_label: 0..C-1.
        other_label: The class that is mapped, too: the label of a mistake, the second most likely class of a
            low margin, `NO_CLASS` for a right one.
    """

    kind: str
    row: int
    label: int
    predicted_label: int
    other_label: int


def choose(labels: NDArray[np.int32], probabilities: NDArray[np.float32]) -> list[Chosen]:
    """Choose images; none is chosen twice.

    Right ones are the first of their class: the rows' order is random. Of more than `RIGHT` classes, only the
    first have one.

    Args:
        labels: int32 (N,), 0..C-1.
        probabilities: float32 (N, C), 0..1.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    top = np.take_along_axis(np.asarray(probabilities, np.float64), order, axis=1)
    wrong = order[:, 0] != labels
    mistakes = _lowest(-top[:, 0], wrong, MISTAKES)
    unsure = _lowest(top[:, 0] - top[:, 1], ~np.isin(np.arange(len(labels)), mistakes), MARGINS)
    right = _first_of_each(labels, ~wrong & ~np.isin(np.arange(len(labels)), unsure), probabilities.shape[1])
    others: dict[str, NDArray[np.integer]] = {
        "mistake": labels,
        "margin": order[:, 1],
        "right": np.full(len(labels), NO_CLASS),
    }
    return [
        Chosen(kind, int(row), int(labels[row]), int(order[row, 0]), int(others[kind][row]))
        for kind, rows in (("mistake", mistakes), ("margin", unsure), ("right", right))
        for row in rows
    ]


def _lowest(values: NDArray[np.float64], among: NDArray[np.bool_], count: int) -> Integers:
    rows = np.flatnonzero(among)
    return rows[np.argsort(values[rows], kind="stable")][:count]


def _first_of_each(labels: NDArray[np.int32], among: NDArray[np.bool_], classes: int) -> Integers:
    count = min(RIGHT_PER_CLASS, max(1, RIGHT // classes))
    rows = [np.flatnonzero(among & (labels == label))[:count] for label in range(classes)]
    return np.concatenate(rows)[:RIGHT].astype(np.int64)
