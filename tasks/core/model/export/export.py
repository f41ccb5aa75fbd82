"""The export stage: a model in other formats, each verified on the test images before it is published.

The output has one file (or folder) per format, `labels.txt` with the class names, and `certificate.json` with
the measurements of each format and whether it passed. A file outside its tolerance is not in the output. This
module can be imported without TensorFlow.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.config import ExportName
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import UsageError
from tasks.core.model.devices import runtime
from tasks.core.model.export import verification
from tasks.core.model.export.description import LABELS, Description, labels_text
from tasks.core.model.inference import predict_splits
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Exports, Model, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import EXPORT
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.export")

CERTIFICATE = "certificate.json"
ONNX = ("tf2onnx", "onnx", "onnxruntime")
CALIBRATION = 512  # number of training images from which int8 quantization learns value ranges


def check_formats(formats: Sequence[ExportName]) -> None:
    """Check that the formats can be written in this installation.

    Args:
        formats: Formats to export.

    Raises:
        UsageError: ONNX is among them and its libraries are not installed.
    """
    missing = [name for name in ONNX if find_spec(name) is None]
    if ExportName.onnx in formats and missing:
        raise UsageError(
            "exporting to ONNX needs libraries that are not installed",
            expected=", ".join(ONNX),
            found=f"no {', '.join(missing)}",
            done="nothing was run",
            todo="pip install 'plumbline[onnx]' (in a clone: pip install -e '.[onnx]'), or leave onnx out",
        )


def ingredients(model: Model, tensors: TensorCache, formats: Sequence[ExportName]) -> Ingredients:
    """Everything that decides an export; the versions of the ONNX libraries only if ONNX is exported."""
    onnx = ONNX if ExportName.onnx in formats else ()
    return EXPORT.ingredients(
        inputs={"model": model.model_sha256, "tensors": tensors.digest},
        parameters={"formats": sorted(str(name) for name in formats)},
        libraries=onnx,
    )


def export(
    model: Model,
    tensors: TensorCache,
    formats: Sequence[ExportName],
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Exports:
    """Write the model in each format, load each file, and run it on all test images.

    Args:
        model: Its `model.keras` takes uint8 (N, H, W, C) and returns probabilities; so does every export.
        tensors: Tensor cache with the test images, and the training images for int8 quantization.
        formats: Formats to export.
        workspace: Where the output is written.
        refresh: Whether to export again if the output exists.
        progress: Called with formats done.

    Returns:
        Handle of the exports.

    Raises:
        UsageError: See `check_formats`.
    """
    check_formats(formats)
    predictions = predict_splits.predict_splits(model, tensors, workspace, progress=progress)
    expected = predictions.directory / "test.probabilities.npy"
    return EXPORT.output(
        ingredients(model, tensors, formats),
        workspace,
        lambda staging: _build(staging, model, tensors, formats, expected, progress),
        refresh=refresh,
    )


def _build(
    staging: Path,
    model: Model,
    tensors: TensorCache,
    formats: Sequence[ExportName],
    expected: Path,
    progress: Progress,
) -> Mapping[str, Any]:
    with runtime.suppress_stderr():
        from tasks.core.model.export import formats as formats_module
        from tasks.core.model.export.formats import measure_latencies, remove, write_export

        test, train = open_split(tensors, "test"), open_split(tensors, "train")
        reference = np.load(expected, mmap_mode="r", allow_pickle=False)
        description, results = Description.of(tensors), []
        for number, name in enumerate(sorted(formats)):
            progress(number, len(formats), str(name))
            path = write_export(
                model.directory / "model.keras", name, staging, train.images[:CALIBRATION], description
            )
            probabilities = formats_module.probabilities(path, name, test.images)
            latencies = measure_latencies(path, name, test.images)
            results.append(verification.verify(name, path, probabilities, reference, test.labels, latencies))
            if not results[-1]["passed"]:
                remove(path)
    (staging / LABELS).write_text(labels_text(tensors.classes), encoding="utf-8", newline="")
    (staging / CERTIFICATE).write_text(json.dumps(results, indent=1))
    for result in results:
        log.info("  %s", verification.verification_text(result))
    return {
        "model_sha256": model.model_sha256,
        "passed": [result["format"] for result in results if result["passed"]],
        "refused": [result["format"] for result in results if not result["passed"]],
    }
