"""Whether a model may predict in bfloat16: its predictions of val images, compared with those in float32.

The certificate is a file of the model's profile. It is measured on processors that multiply in bfloat16, and
only there a model predicts in it. This module can be imported without TensorFlow.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.config import Precision
from tasks.core.errors import UsageError
from tasks.core.metrics.comparison import paired
from tasks.core.model.devices import processor

FILE = "bfloat16.json"
MARGIN = 0.005  # of accuracy; a larger loss must be excluded
LOOKS = 2  # the certificate is made of some images, and if these leave the loss open, of more (Bonferroni)
ALPHA = 0.025 / LOOKS  # one-sided
NOT_EXCLUDED = f"a loss of {100 * MARGIN:g} points of accuracy is not excluded"
# `flash` on CIFAR-10: 99.7 % the same class, largest difference 0.03 (2,560 images).
MIN_AGREEMENT = 0.99
MAX_DIFFERENCE = 0.1

Floats = NDArray[np.float32]


def can_pass(units: int) -> bool:
    """Whether so many images, or groups of images, would be enough if no prediction changed."""
    return units > 0 and _p_of_no_change(units) < ALPHA


def certify(
    probabilities: Floats,
    expected: Floats,
    labels: NDArray[np.int32],
    groups: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Compare the probabilities of val images in bfloat16 with those in float32.

    Args:
        probabilities: Calculated in bfloat16, float32 (N, classes).
        expected: Calculated in float32, float32 (N, classes).
        labels: int32 (N,).
        groups: int64 (N,), which images belong together; None if each is by itself.

    Returns:
        The certificate, as JSON values; the interval is of the difference of the accuracies.
    """
    correct, expected_correct = (values.argmax(axis=1) == labels for values in (probabilities, expected))
    outcome = paired.compare_outcomes(correct, expected_correct, groups)
    measured = {
        "images": len(labels),
        "agreement": float((probabilities.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        "largest_difference": float(np.abs(probabilities - expected).max()),
        "accuracy": float(correct.mean()),
        "float32_accuracy": float(expected_correct.mean()),
        "difference": {"value": outcome.difference, "low": outcome.low, "high": outcome.high},
        "p_not_worse": _p_not_worse(correct, expected_correct, groups),
    }
    limits = {
        "agreement": MIN_AGREEMENT,
        "largest_difference": MAX_DIFFERENCE,
        "loss": MARGIN,
        "alpha": ALPHA,
    }
    reasons = problems(measured)
    return measured | {"limits": limits, "passed": not reasons, "reasons": reasons}


def _p_not_worse(
    correct: NDArray[np.bool_], expected: NDArray[np.bool_], groups: NDArray[np.int64] | None
) -> float:
    if groups is not None and np.array_equal(correct, expected):  # groups that are all equal have no variance
        return _p_of_no_change(len(np.unique(groups)))
    return paired.p_not_worse(correct, expected, MARGIN, groups)


def _p_of_no_change(units: int) -> float:
    same = np.ones(units, bool)
    return paired.p_not_worse(same, same, MARGIN)


def problems(measured: dict[str, Any]) -> list[str]:
    """Why a model must not predict in bfloat16; a NaN is outside every limit."""
    reasons = []
    if not measured["agreement"] >= MIN_AGREEMENT:
        reasons.append(f"only {shares.percent(measured['agreement'])} of the predicted classes are the same")
    if not measured["largest_difference"] <= MAX_DIFFERENCE:
        reasons.append(f"a probability differs by {measured['largest_difference']:.2g}")
    if not measured["p_not_worse"] < ALPHA:
        reasons.append(NOT_EXCLUDED)
    return reasons


def needs_more(certificate: dict[str, Any]) -> bool:
    """Whether only the number of images stands in the way of a certificate."""
    return bool(certificate["reasons"] == [NOT_EXCLUDED])


def choose(profile: Path, asked: Precision, *, proven: bool) -> Precision:
    """What a published model predicts in.

    Args:
        profile: The profile of the version; it may be missing.
        asked: "auto" is bfloat16 where the certificate and the processor allow it.
        proven: Whether a threshold or an operating point decides. It was chosen by probabilities in float32,
            so that the model keeps to them.

    Raises:
        UsageError: bfloat16 is asked for and not allowed.
    """
    if asked is Precision.float32:
        return asked
    reason = _refusal(profile, proven=proven)
    if reason and asked is Precision.bfloat16:
        raise UsageError(
            "the model does not predict in bfloat16 here",
            expected="a processor and a certificate that allow it, and the most probable class",
            found=reason,
            done="nothing was predicted",
            todo="leave out --precision",
        )
    return Precision.float32 if reason else Precision.bfloat16


def _refusal(profile: Path, *, proven: bool) -> str:
    """Why a model must not predict in bfloat16; empty if it may."""
    if not processor.predicts_in_bfloat16():
        return "a processor that does not multiply in bfloat16, or a GPU"
    if proven:
        return "a threshold or an operating point, which was chosen in float32"
    certificate = read(profile)
    if certificate is None:
        return "a version without the certificate: too few val images, features, or an older version"
    return "; ".join(certificate["reasons"])


def write(certificate: dict[str, Any], directory: Path) -> None:
    """Write the certificate into a profile."""
    (directory / FILE).write_text(json.dumps(certificate, indent=1), encoding="utf-8")


def read(directory: Path) -> dict[str, Any] | None:
    """The certificate of a profile; None if it has none."""
    path = directory / FILE
    return dict(json.loads(path.read_bytes())) if path.exists() else None


def sentence(certificate: dict[str, Any]) -> str:
    """What the certificate says, in one line."""
    difference = certificate["difference"]
    value, low, high = (100 * difference[name] for name in ("value", "low", "high"))
    images = shares.counted(certificate["images"], "val image")
    return (
        f"{shares.percent(certificate['agreement'])} of {images} have the same "
        f"class as in float32, accuracy {value:+.2f} points (95 % interval {low:+.2f} to {high:+.2f})"
    )
