"""From which confidence on a published model answers, by what its validation images have proven."""

from tasks.core.errors import UsageError
from tasks.core.stage.handles import ModelVersion


def threshold(version: ModelVersion, abstain: float | None, threshold: float | None) -> float | None:
    """The least confidence that is answered; None answers always.

    Args:
        abstain: The wanted error rate among the answers, 0..1: one for which the model has a threshold.
        threshold: The confidence itself, 0..1, instead.

    Raises:
        UsageError: Both are given, one is out of its range, or nothing is proven for the rate.
    """
    if abstain is not None and threshold is not None:
        raise UsageError("--abstain and --threshold say the same in two ways", expected="one of them")
    if threshold is not None:
        if not 0 <= threshold <= 1:
            raise UsageError("threshold must lie in 0..1", found=f"{threshold:g}")
        return threshold
    if abstain is None:
        return None
    proven = {
        row["max_error"]: float(row["threshold"])
        for row in version.manifest["facts"].get("abstention", ())
        if row["threshold"] is not None
    }
    if abstain not in proven:
        raise UsageError(
            f"{version.dataset} {version.version} has no threshold for an error rate of {abstain:g}",
            expected=f"one of {', '.join(f'{rate:g}' for rate in proven)}" if proven else "a proven rate",
            found="none is proven by its validation images" if not proven else f"{abstain:g}",
            todo="its model card lists what is proven; --threshold sets a confidence by hand",
        )
    return proven[abstain]
