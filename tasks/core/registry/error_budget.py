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

from dataclasses import asdict, dataclass
from typing import Any

from tasks.core.evaluation import sketches
from tasks.core.registry import decisions
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


def share(val_evidence: float) -> float:
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
    same_sets = decisions.same_test_sets(test_set, sketches.sketch_of(tensors), tensors.dataset, workspace)
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
    level = max(0.0, TOTAL - spent) * share(val_evidence)
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


def images_needed(images: int, error: float, level: float, gain: float = USEFUL_GAIN) -> int:
    """Test images with which a look at this level finds the gain in every second case.

    Args:
        images: Test images now.
        error: Standard error of the difference in accuracy with them.
        level: One-sided, 0..0.025.
        gain: The true difference in accuracy, 0..1.
    """
    from scipy.special import ndtri

    return int(-(-images * (error * -ndtri(level) / gain) ** 2 // 1)) if level > 0 else 0
