"""The certificate of an exported file: its predictions on the test images, compared with `model.keras`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.config import ExportName


@dataclass(frozen=True)
class Tolerance:
    """How far an export may differ from `model.keras` on the test images.

    Args:
        agreement: Minimum share of images with the same predicted class, 0..1.
        difference: Maximum difference of any probability, 0..1.
        loss: Maximum loss of accuracy, 0..1.
    """

    agreement: float
    difference: float
    loss: float


# Formats that sum in another order differ by rounding. int8 has 256 steps for each channel's weights and each
# layer's values, which changes probabilities but few predicted classes.
EXACT = Tolerance(agreement=0.999, difference=1e-3, loss=0.001)
QUANTIZED = Tolerance(agreement=0.97, difference=1.0, loss=0.01)
# Exports of any size differ for two reasons. Their scaling now and then rounds a grey value differently: in 3
# times 176 synthetic photos no class changed, and no probability by more than 0.011. And they get large JPEGs
# decoded in full, where the tensors have them from DCT scaling: at least 98.3 % had the same class, and a
# probability differed by up to 0.22. The limits are some four times as wide.
SCALING = Tolerance(agreement=0.9, difference=0.05, loss=1.0)
ANY_SIZE = Tolerance(agreement=0.95, difference=1.0, loss=0.02)
TOLERANCES = dict.fromkeys(ExportName, EXACT) | {ExportName.litert_int8: QUANTIZED}


def verify(
    name: ExportName,
    path: Path,
    probabilities: NDArray[np.float32],
    expected: NDArray[np.float32],
    labels: NDArray[np.int32],
    latencies: NDArray[np.float64],
    tolerance: Tolerance | None = None,
) -> dict[str, Any]:
    """Compare an export with `model.keras` on the test images.

    Args:
        name: The format.
        path: The exported file or folder.
        probabilities: Its probabilities of the test images, float32 (N, classes).
        expected: Those of `model.keras`, float32 (N, classes).
        labels: int32 (N,).
        latencies: Seconds for single images, float64 (n,).
        tolerance: How far it may differ; None for the format's own tolerance.

    Returns:
        The format's entry of the certificate, as JSON values.
    """
    limits = tolerance or TOLERANCES[name]
    measured = {
        "format": str(name),
        "file": path.name,
        "bytes": sum(file.stat().st_size for file in _files(path)),
        "images": len(labels),
        **_difference(probabilities, expected),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "expected_accuracy": float((expected.argmax(axis=1) == labels).mean()),
        "p50_ms": float(1000 * np.quantile(latencies, 0.5)),
        "p95_ms": float(1000 * np.quantile(latencies, 0.95)),
    }
    reasons = problems(measured, limits)
    return measured | {"tolerance": asdict(limits), "passed": not reasons, "reasons": reasons}


def verify_scaling(
    entry: Mapping[str, Any], probabilities: NDArray[np.float32], expected: NDArray[np.float32]
) -> dict[str, Any]:
    """Add to an entry how the file's own scaling compares with Plumbline's, of the same decoded images.

    Args:
        entry: The entry of an export that takes images of any size.
        probabilities: Its probabilities of images at their own size, float32 (N, classes).
        expected: Those of `model.keras` of the same images, scaled by `tasks.core.data.decode`.
    """
    measured = _difference(probabilities, expected)
    same = {"accuracy": 0.0, "expected_accuracy": 0.0}
    reasons = [f"scaling in the file: {reason}" for reason in problems(measured | same, SCALING)]
    limits = {"agreement": SCALING.agreement, "difference": SCALING.difference}
    return {
        **entry,
        "input": "any-size",
        "scaling": {**measured, "tolerance": limits},
        "passed": entry["passed"] and not reasons,
        "reasons": [*entry["reasons"], *reasons],
    }


def _difference(probabilities: NDArray[np.float32], expected: NDArray[np.float32]) -> dict[str, float]:
    same = probabilities.argmax(axis=1) == expected.argmax(axis=1)
    return {
        "agreement": float(same.mean()),
        "largest_difference": float(np.abs(probabilities - expected).max()),
    }


def problems(measured: Mapping[str, Any], tolerance: Tolerance) -> list[str]:
    """The reasons why an export is outside its tolerance.

    Args:
        measured: The measurements of a certificate's entry; a NaN is outside every tolerance.
        tolerance: Limits of the format.

    Returns:
        One phrase per reason; empty if the export may be published.
    """
    reasons = []
    if not measured["agreement"] >= tolerance.agreement:
        reasons.append(f"only {shares.percent(measured['agreement'])} of the predicted classes are the same")
    if not measured["largest_difference"] <= tolerance.difference:
        reasons.append(f"a probability differs by {measured['largest_difference']:.2g}")
    loss = measured["expected_accuracy"] - measured["accuracy"]
    if not loss <= tolerance.loss:
        reasons.append(f"{loss * 100:.2f} points of accuracy are lost")
    return reasons


def verification_text(result: Mapping[str, Any]) -> str:
    """A certificate's entry as one line for the console."""
    outcome = "certified" if result["passed"] else f"NOT published: {'; '.join(result['reasons'])}"
    return (
        f"{result['format']:<12} {result['bytes'] / 1e3:,.0f} kB, "
        f"{shares.percent(result['agreement'])} the same class, "
        f"largest difference {result['largest_difference']:.1e}, p50 {result['p50_ms']:.2f} ms: {outcome}"
    )


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
