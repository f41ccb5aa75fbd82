"""How the recall of each class changes from the champion to the challenger, and what cannot be seen of it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.metrics import cluster, intervals
from tasks.core.metrics.comparison import paired
from tasks.core.metrics.comparison.paired import ALPHA
from tasks.core.metrics.intervals import Ints

LISTED = 3  # classes in a sentence


def class_changes(
    labels: NDArray[np.integer],
    challenger_correct: NDArray[np.bool_],
    champion_correct: NDArray[np.bool_],
    classes: tuple[str, ...],
    groups: Ints | None = None,
) -> list[dict[str, Any]]:
    """The change of each class's recall, with paired intervals at a joint level of 95 %.

    By Bonferroni's method the classes share the error probability of 5 %. Without it, some of a hundred
    classes would seem to lose by chance. The intervals are those of the bootstrap; with groups, those of
    `cluster.difference`.

    Args:
        labels: Integers (N,), 0..C-1.
        challenger_correct: bool (N,), whether each prediction of the challenger is correct.
        champion_correct: bool (N,), whether each prediction of the champion is correct.
        classes: Names of the C classes.
        groups: int64 (N,), which images belong together; None if each is by itself.

    Returns:
        One dictionary per class: class_name, images, change (-1..1), low, high, visible_loss; the last four
        are None for a class without images.
    """
    found = changes(labels, challenger_correct, champion_correct, range(len(classes)), groups)
    return [{"class_name": name, **row} for name, row in zip(classes, found, strict=True)]


def changes(
    codes: NDArray[np.integer],
    challenger_correct: NDArray[np.bool_],
    champion_correct: NDArray[np.bool_],
    parts: Sequence[int],
    groups: Ints | None = None,
) -> list[dict[str, Any]]:
    """The change of the accuracy on each part of the images; see `class_changes`.

    Args:
        codes: Integers (N,), the part of each image.
        challenger_correct: bool (N,), whether each prediction of the challenger is correct.
        champion_correct: bool (N,), whether each prediction of the champion is correct.
        parts: The codes of the P parts that share the error probability.
        groups: int64 (N,), which images belong together; None if each is by itself.

    Returns:
        P dictionaries: images, change, low, high, visible_loss.
    """
    alpha = ALPHA / len(parts)
    per_image = paired.differences(challenger_correct, champion_correct)
    rows = []
    for part in parts:
        members = codes == part
        row: dict[str, Any] = {"images": int(members.sum())}
        if not members.any():
            rows.append(row | dict.fromkeys(("change", "low", "high", "visible_loss")))
            continue
        of_part = groups[members] if groups is not None else None
        low, high = _interval(per_image[members], of_part, alpha)
        independent = row["images"] if of_part is None else len(np.unique(of_part))
        row |= {"change": float(per_image[members].mean()), "low": low, "high": high}
        rows.append(row | {"visible_loss": visible_loss(independent, alpha)})
    return rows


def visible_loss(count: int, alpha: float) -> float:
    """The smallest loss of recall whose interval excludes 0, if nothing is won, 0..1.

    The interval of the bootstrap excludes 0 if no more than alpha / 2 of the resamples miss every lost image:
    (1 - loss) ** count <= alpha / 2.

    Args:
        count: Images or groups of the class.
        alpha: Error probability of the two-sided interval.

    >>> round(visible_loss(14, 0.01), 3)
    0.315
    """
    return float(1 - (alpha / 2) ** (1 / count))


def worst_sentence(rows: Sequence[dict[str, Any]], notable: float) -> str:
    """The class that loses most, as text; empty if no loss is notable.

    A loss is notable if its interval excludes 0, or if it is larger than `notable`.

    Args:
        rows: As `class_changes` returns them.
        notable: A loss of recall, 0..1.
    """
    losing = [row for row in rows if row["change"] is not None and row["change"] < 0]
    proven = [row for row in losing if row["high"] < 0]
    if not (proven or any(row["change"] < -notable for row in losing)):
        return ""
    worst = min(proven or losing, key=lambda row: row["change"])
    images = f"{worst['images']:,} image{'s' * (worst['images'] != 1)}"
    remark = "" if worst["high"] < 0 else f" ({images}, not proven)"
    return f"{worst['class_name']} loses {-worst['change'] * 100:.1f} points of recall{remark}"


def unseen_sentence(rows: Sequence[dict[str, Any]]) -> str:
    """Which losses of recall are too small to be seen, for the classes with the fewest images; may be empty.

    Args:
        rows: As `class_changes` returns them; those of earlier versions have no `visible_loss`.
    """
    known = [row for row in rows if row.get("visible_loss") is not None]
    least = sorted(known, key=lambda row: -row["visible_loss"])[:LISTED]
    parts = [
        f"{row['class_name']} ({row['images']:,} image{'s' * (row['images'] != 1)}) "
        f"below {row['visible_loss'] * 100:.0f} points"
        for row in least
    ]
    return f"Losses of recall that cannot be seen: {', '.join(parts)}." if parts else ""


def _interval(per_image: intervals.Floats, groups: Ints | None, alpha: float) -> tuple[float, float]:
    """Interval of the mean of -1, 0 and 1 at the level 1 - alpha."""
    if groups is not None:
        return cluster.difference(cluster.totals(groups, per_image), cluster.sizes_of(groups), 1 - alpha)
    won, lost = int(np.sum(per_image > 0)), int(np.sum(per_image < 0))
    table = np.array([won, lost, len(per_image) - won - lost])
    resampled = intervals.bootstrap_table(table, paired.accuracy_difference)
    low, high = np.quantile(resampled, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)
