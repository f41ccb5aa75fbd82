"""The confidence threshold above which a published model answers, as proven on its validation images."""

from tasks.core.errors import UsageError
from tasks.core.stage.handles import ModelVersion


def threshold(version: ModelVersion, abstain: float | None, threshold: float | None) -> float | None:
    """The lowest confidence at which the model answers; None if it always answers.

    Args:
        version: The published model.
        abstain: The highest accepted error rate among the answers, 0..1; the model must have a proven
            threshold for it.
        threshold: The confidence threshold itself, 0..1, as an alternative.

    Raises:
        UsageError: Both are given, the threshold is out of range, or the model has no proven threshold for
            the rate.
    """
    if abstain is not None and threshold is not None:
        raise UsageError("--abstain and --threshold exclude each other", expected="one of them")
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
            todo="its model card lists the proven rates; --threshold sets a confidence by hand",
        )
    return proven[abstain]
