"""Proof that classes lose no recall, where a promotion needs it.

Without such a proof, a class of few test images may lose much before the budget of losses refuses: the loss
has to be proven. Here the burden is turned: the 95 % interval of the change has to exclude a loss above the
budget. It is T. Tango's score interval (Statistics in Medicine 17, 1998), which has a width without any
disagreement: 14 images of which none is lost prove no more than a loss below 22 points. With groups it is
that of `cluster.difference`. All classes have to pass, each at the full level, so that the chance of a wrong
proof stays below 2.5 % (intersection-union test: R. Berger, Technometrics 24, 1982).
"""

from math import ceil
from typing import Any

from tasks.core import shares
from tasks.core.evaluation.comparable import PairedOutcomes
from tasks.core.metrics import cluster
from tasks.core.metrics.comparison import equivalence, paired
from tasks.core.metrics.comparison.equivalence import QUANTILE


def largest_losses(
    outcomes: PairedOutcomes, classes: tuple[str, ...], named: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The largest loss of recall that the test images allow.

    Args:
        outcomes: The outcomes of both models.
        classes: Names of the C classes.
        named: The classes that are asked for.

    Returns:
        One dictionary per class: class_name, images, and largest_loss (0..1; 1 for a class without images).
    """
    rows = []
    for name in named:
        members = outcomes.labels == classes.index(name)
        rows.append(
            {
                "class_name": name,
                "images": int(members.sum()),
                "largest_loss": _largest_loss(outcomes, members) if members.any() else 1.0,
            }
        )
    return rows


def why_unproven(rows: list[dict[str, Any]], budget: float) -> str:
    """The class whose proof lacks most, as text; empty if every loss above the budget is excluded.

    Args:
        rows: As `largest_losses` returns them.
        budget: The largest accepted loss of recall, 0..1, above 0.
    """
    worst = max(rows, key=lambda row: row["largest_loss"], default=None)
    if worst is None or worst["largest_loss"] <= budget:
        return ""
    return (
        f"but that {worst['class_name']} loses at most {budget * 100:g} points is not proven: "
        f"{shares.said(worst['images'], 'image allows', 'images allow')} a loss of up to "
        f"{worst['largest_loss'] * 100:.1f} points ({shares.counted(images_needed(budget), 'image')} "
        "without a difference would prove it)"
    )


def images_needed(budget: float) -> int:
    """Images of a class that exclude a loss above the budget if both models agree on all of them.

    >>> images_needed(0.05)
    73
    """
    return ceil(QUANTILE**2 * (1 / budget - 1))


def _largest_loss(outcomes: PairedOutcomes, members: Any) -> float:
    new, old = outcomes.challenger[members], outcomes.champion[members]
    if outcomes.groups is not None:
        sums = cluster.totals(outcomes.groups[members], paired.differences(new, old))
        return -cluster.difference(sums, cluster.sizes_of(outcomes.groups[members]))[0]
    won, lost = int((new & ~old).sum()), int((old & ~new).sum())
    return -equivalence.compare(won, lost, len(new), margin=1.0).low
