"""The error rate of the gate over many looks at one test set.

Each comparison of a challenger with the champion is a look at the test images. All looks at one test set
share an error rate of 5 %: that is the largest chance that a challenger which is not better is ever promoted,
however many there are. A look spends a part of what is left, and its test is made at that level; the parts
never add up to more than the whole (alpha spending: K. Lan, D. DeMets, Biometrika 70, 1983; without earning
anything back, unlike D. Foster, R. Stine, "Alpha-investing", JRSS B 70, 2008). How large a part is decided by
the validation images, which are independent of the test images (weighted tests: C. Genovese, K. Roeder,
L. Wasserman, "False discovery control with p-value weighting", Biometrika 93, 2006). A challenger that is
clearly better on val may spend half of what is left, and one that is equal on val spends next to nothing.
docs/experiments.md has the other rules that were tried.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tasks.core import shares
from tasks.core.registry.promotion import decisions
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace

TOTAL = 0.05  # the chance that an equal challenger is ever promoted
LARGEST_SHARE, SMALLEST_SHARE = 0.5, 0.002  # of what is left, for one look
CENTRE, STEEPNESS = 1.5, 2.0  # standard errors on val at which half of the largest share is spent
USEFUL_GAIN, USEFUL_POWER = 0.02, 0.5  # a set that misses such a gain more often than not is worn out


@dataclass(frozen=True)
class Look:
    """One comparison on a test set.

    Args:
        number: 1 for the first comparison of two models on this test set.
        spent: The part of the error rate that was spent before, 0..`TOTAL`.
        level: The part that this look spends: the one-sided level of its test, 0..0.025.
        val_evidence: Standard errors by which the challenger is above the champion on the val images.
        unbudgeted: Earlier looks that spent nothing: policies always and never, and older versions.
    """

    number: int
    spent: float
    level: float
    val_evidence: float
    unbudgeted: int = 0

    def record(self) -> dict[str, Any]:
        """The look as JSON values, the arguments of this class."""
        return asdict(self)


def share_to_spend(val_evidence: float) -> float:
    """The share of what is left that a look spends, 0.002..0.5.

    Args:
        val_evidence: Standard errors by which the challenger is above the champion on the val images.
    """
    from scipy.special import ndtr  # imported here: scipy takes 0.5 s, and a reused run needs none of it

    range_of_shares = LARGEST_SHARE - SMALLEST_SHARE
    return float(SMALLEST_SHARE + range_of_shares * ndtr(STEEPNESS * (val_evidence - CENTRE)))


def next_look(
    challenger: str, champion: str, val_evidence: float, tensors: TensorCache, workspace: Workspace
) -> Look:
    """The look of a comparison. The same pair of models on the same images spends nothing again.

    Args:
        challenger: SHA-256 of the challenger's model.
        champion: SHA-256 of the champion's model.
        val_evidence: Standard errors by which the challenger is above the champion on the val images.
        tensors: The tensors with the test images.
        workspace: The workspace with the registry.
    """
    test_set = decisions.test_set(tensors)
    same_sets = decisions.same_test_sets_as(tensors, workspace)
    seen: dict[tuple[str, str, str], float] = {}
    for line in decisions.read_decisions(tensors.dataset, workspace):
        if not line["looked"] or line["test_set"] not in same_sets:
            continue
        key, recorded = (line["challenger"], line["champion"], line["test_set"]), line.get("look")
        if key == (challenger, champion, test_set) and recorded:
            return Look(**recorded)
        seen[key] = seen.get(key, 0.0) or (recorded or {}).get("level", 0.0)
    spent = sum(seen.values())
    unbudgeted = sum(not level for level in seen.values())
    level = max(0.0, TOTAL - spent) * share_to_spend(val_evidence)
    return Look(len(seen) + 1, spent, level, val_evidence, unbudgeted)


def power(error: float, level: float, gain: float = USEFUL_GAIN) -> float:
    """The chance that a look at this level finds a gain.

    Args:
        error: Standard error of the difference in accuracy.
        level: One-sided, 0..0.025.
        gain: The true difference in accuracy, 0..1.
    """
    from scipy.special import ndtr, ndtri

    return float(ndtr(gain / error + ndtri(level))) if level > 0 else 0.0


def images_needed(images: int, error: float, level: float) -> int:
    """Test images with which a look at this level finds a gain of `USEFUL_GAIN` in every second case.

    Args:
        images: Test images now.
        error: Standard error of the difference in accuracy with them.
        level: One-sided, 0..0.025.
    """
    from scipy.special import ndtri

    return int(-(-images * (error * -ndtri(level) / USEFUL_GAIN) ** 2 // 1)) if level > 0 else 0


def sentences(evidence: Mapping[str, Any]) -> list[str]:
    """What the evidence says of the look, of what is left, and of the champion's luck; may be empty."""
    if not evidence.get("look"):
        return []
    look = Look(**evidence["look"])
    left = max(0.0, TOTAL - look.spent - look.level)
    counted = f"This was look {look.number:,} at these test images"
    if look.unbudgeted:
        counted += f" ({look.unbudgeted:,} of the earlier ones spent nothing)"
    spent = (
        f"{counted}. Its test was made at a level of {_percent(look.level)}, chosen by the val images, on "
        f"which the challenger is {look.val_evidence:+.1f} standard errors from "
        f"{'the margin' if evidence['policy'] == 'not-worse' else 'the champion'}. "
        "All looks together promote a model without merit with a probability of at most "
        f"{_percent(TOTAL)}, ever; {_percent(left)} is left."
    )
    return [spent, _next_look(evidence, left), _luck(evidence)]


def _next_look(evidence: Mapping[str, Any], left: float) -> str:
    """What the next look can find, and how many images to add if that is too little."""
    images, error = evidence["images"], evidence["error"]
    chance = power(error, left * LARGEST_SHARE)
    found = f"The next look finds a model that is {USEFUL_GAIN * 100:g} points better with a probability of"
    if chance >= USEFUL_POWER:
        return f"{found} up to {_percent(chance)}."
    fresh = TOTAL * LARGEST_SHARE
    worn = power(error, fresh) >= USEFUL_POWER
    more = max(images_needed(images, error, left * LARGEST_SHARE) - images, 1)
    renewed = max(images_needed(images, error, fresh), 2 * images) - images + 1
    advice = f"{shares.counted(min(more, renewed), 'more test image')} would make it {_percent(USEFUL_POWER)}"
    return (
        f"{found} {_percent(chance)} only: the test set is {'worn out' if worn else 'too small'}. {advice}."
    )


def _luck(evidence: Mapping[str, Any]) -> str:
    """How far the accuracy of the model that is champion now is to be trusted."""
    selection, promoted = evidence["selection"], evidence.get("promoted")
    accuracy = evidence["challenger_accuracy" if promoted else "champion_accuracy"]
    holds = (
        f"{_points(selection['low'])} to {_points(selection['high'])} % holds for whichever of the "
        f"{selection['models']} models that were judged on these images was chosen."
    )
    if (selection["luck"] or 0) < 0.5e-4:  # 0.00 points
        return f"For the champion's {_points(accuracy)} %: {holds}"
    return (
        f"The champion's {_points(accuracy)} % were measured on the images that chose it: "
        f"about {_points(selection['luck'])} points are luck of the choice, so "
        f"{_points(accuracy - selection['luck'])} % is nearer to the truth. {holds}"
    )


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %"


def _points(share: float) -> str:
    return f"{share * 100:.2f}"
