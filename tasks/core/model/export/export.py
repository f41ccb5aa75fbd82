"""The export stage: a model in other formats, each file run again over the test images before it goes out.

A directory has one file (or folder) a format and `certificate.json`: for each, whether it may go out and
what it was seen to do. A file outside its tolerance is not in the directory. Importable without TensorFlow.
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
from tasks.core.model.inference import predict_splits
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Exports, Model, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import EXPORT
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.export")

CERTIFICATE = "certificate.json"
ONNX = ("tf2onnx", "onnx", "onnxruntime")
CALIBRATION = 512  # training images from which int8 learns its ranges


def check_formats(formats: Sequence[ExportName]) -> None:
    """Whether the formats can be written here.

    Raises:
        UsageError: ONNX is asked for and its libraries aren't installed.
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
    """Write the model in each format, load what was written, and run it over all test images.

    Args:
        model: Its `model.keras` takes uint8 (N, H, W, C) and gives probabilities; so does every export.
        tensors: The test images, and the training images from which int8 learns its ranges.

    Raises:
        UsageError: See `check_formats`.
    """
    check_formats(formats)
    made_of = ingredients(model, tensors, formats)
    predicted = predict_splits.predict_splits(model, tensors, workspace, progress=progress)
    expected = predicted.directory / "test.probabilities.npy"
    return EXPORT.output(
        made_of,
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
        known = np.load(expected, mmap_mode="r", allow_pickle=False)
        lines = []
        for number, name in enumerate(sorted(formats)):
            progress(number, len(formats), str(name))
            path = write_export(model.directory / "model.keras", name, staging, train.images[:CALIBRATION])
            probabilities = formats_module.probabilities(path, name, test.images)
            waits = measure_latencies(path, name, test.images)
            lines.append(verification.verify(name, path, probabilities, known, test.labels, waits))
            if not lines[-1]["passed"]:
                remove(path)
    (staging / CERTIFICATE).write_text(json.dumps(lines, indent=1))
    for line in lines:
        log.info("  %s", verification.verification_text(line))
    return {
        "model_sha256": model.model_sha256,
        "passed": [line["format"] for line in lines if line["passed"]],
        "refused": [line["format"] for line in lines if not line["passed"]],
    }
