"""How the accuracy on each slice changes from the champion to the challenger: a budget of the gate."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.evaluation.class_changes import changes
from tasks.core.evaluation.comparable import PairedOutcomes
from tasks.core.evaluation.slices.slice_table import LEAST
from tasks.core.evaluation.slices.values import Attribute
from tasks.core.metrics.comparison import paired
from tasks.core.metrics.comparison.paired import ALPHA


def slice_changes(
    outcomes: PairedOutcomes, rows: NDArray[np.bool_], attributes: Mapping[str, Attribute], budget: float
) -> list[dict[str, Any]]:
    """The change on each slice of some columns, with paired intervals at a joint level of 95 % per column.

    Args:
        outcomes: Both models' outcomes on the n images that can be compared.
        rows: bool (N,), which test images these are.
        attributes: The columns, by name, with codes of the N test images.
        budget: The largest accepted loss of accuracy on a slice, 0..1, above 0.

    Returns:
        One dictionary per slice of `LEAST` images: column, value, images, change (-1..1), low, high,
        visible_loss, and over_budget: whether the loss is proven to be larger than the budget, by the
        interval and by Tango's test, at a level that the column's slices share (Bonferroni).
    """
    return [row for each in attributes.values() for row in _of_column(outcomes, rows, each, budget)]


def _of_column(
    outcomes: PairedOutcomes, rows: NDArray[np.bool_], attribute: Attribute, budget: float
) -> list[dict[str, Any]]:
    codes = attribute.codes[rows]
    large = [code for code in range(len(attribute.values)) if (codes == code).sum() >= LEAST]
    found = []
    for code, change in zip(large, _changes(outcomes, codes, large), strict=True):
        members = codes == code
        groups = outcomes.groups[members] if outcomes.groups is not None else None
        within = paired.p_not_worse(outcomes.challenger[members], outcomes.champion[members], budget, groups)
        proven = change["high"] < -budget and 1 - within <= ALPHA / 2 / len(large)
        found.append(
            {"column": attribute.name, "value": attribute.values[code], **change, "over_budget": bool(proven)}
        )
    return found


def _changes(outcomes: PairedOutcomes, codes: NDArray[np.int64], large: list[int]) -> list[dict[str, Any]]:
    return changes(codes, outcomes.challenger, outcomes.champion, large, outcomes.groups) if large else []


def refusal(found: list[dict[str, Any]], budget: float) -> str:
    """Why slices forbid the promotion, as text: the slice that loses most; empty if none does.

    Args:
        found: As `slice_changes` returns them.
        budget: The largest accepted loss, 0..1.
    """
    over = [row for row in found if row["over_budget"]]
    if not over:
        return ""
    worst = min(over, key=lambda row: row["high"])
    return (
        f"{worst['column']}={worst['value']} loses {-worst['change'] * 100:.1f} points of accuracy "
        f"({shares.counted(worst['images'], 'image')}), more than the budget of {budget * 100:g}"
    )
