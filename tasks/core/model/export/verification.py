"""The certificate of an exported file: what it was seen to do on the test images, against `model.keras`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import ExportName


@dataclass(frozen=True)
class Tolerance:
    """How far an export may be from `model.keras` on the test images.

    Args:
        agreement: Least share of images of the same predicted class, 0..1.
        difference: Largest difference of any probability, 0..1.
        loss: Largest loss of accuracy, 0..1.
    """

    agreement: float
    difference: float
    loss: float


# The same sums in another order differ by rounding; int8 has 256 steps for each channel's weights and each
# layer's values, which moves probabilities but few decisions.
EXACT = Tolerance(agreement=0.999, difference=1e-3, loss=0.001)
QUANTIZED = Tolerance(agreement=0.97, difference=1.0, loss=0.01)
TOLERANCES = dict.fromkeys(ExportName, EXACT) | {ExportName.litert_int8: QUANTIZED}


def verify(
    name: ExportName,
    path: Path,
    probabilities: NDArray[np.float32],
    expected: NDArray[np.float32],
    labels: NDArray[np.int32],
    waits: NDArray[np.float64],
) -> dict[str, Any]:
    """One format's line; JSON values.

    Args:
        path: The exported file or folder.
        probabilities: What it gave for the test images, float32 (N, C).
        expected: What `model.keras` gave.
        labels: int32 (N,).
        waits: Seconds for single images.
    """
    same = probabilities.argmax(axis=1) == expected.argmax(axis=1)
    seen = {
        "format": str(name),
        "file": path.name,
        "bytes": sum(part.stat().st_size for part in _files(path)),
        "images": len(labels),
        "agreement": float(same.mean()),
        "largest_difference": float(np.abs(probabilities - expected).max()),
        "accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "expected_accuracy": float((expected.argmax(axis=1) == labels).mean()),
        "p50_ms": float(1000 * np.quantile(waits, 0.5)),
        "p95_ms": float(1000 * np.quantile(waits, 0.95)),
    }
    reasons = problems(seen, TOLERANCES[name])
    return seen | {"tolerance": asdict(TOLERANCES[name]), "passed": not reasons, "reasons": reasons}


def problems(seen: Mapping[str, Any], allowed: Tolerance) -> list[str]:
    """Why a file may not go out; empty if it may. Probabilities that are no numbers are a reason too."""
    found = []
    if not seen["agreement"] >= allowed.agreement:
        found.append(f"only {seen['agreement']:.2%} of the predicted classes are the same")
    if not seen["largest_difference"] <= allowed.difference:
        found.append(f"a probability differs by {seen['largest_difference']:.2g}")
    loss = seen["expected_accuracy"] - seen["accuracy"]
    if not loss <= allowed.loss:
        found.append(f"{loss * 100:.2f} points of accuracy are lost")
    return found


def verification_text(line: Mapping[str, Any]) -> str:
    """One line for the console."""
    outcome = "certified" if line["passed"] else f"NOT published: {'; '.join(line['reasons'])}"
    return (
        f"{line['format']:<12} {line['bytes'] / 1e3:,.0f} kB, {line['agreement']:.2%} the same class, "
        f"largest difference {line['largest_difference']:.1e}, p50 {line['p50_ms']:.2f} ms: {outcome}"
    )


def _files(path: Path) -> list[Path]:
    return [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
