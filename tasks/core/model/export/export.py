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

from tasks.core.config import ExportInput, ExportName
from tasks.core.data.loader import originals
from tasks.core.errors import UsageError
from tasks.core.model.devices import runtime
from tasks.core.model.export import verification
from tasks.core.model.export.description import LABELS, Description, labels_text
from tasks.core.model.inference import predict_splits
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Exports, Model, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import EXPORT
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.export")

CERTIFICATE = "certificate.json"
ONNX = ("tf2onnx", "onnx", "onnxruntime")


def check_formats(formats: Sequence[ExportName], export_input: ExportInput = ExportInput.fixed) -> None:
    """Check that the formats can be written in this installation.

    Args:
        formats: Formats to export.
        export_input: What images they shall take.

    Raises:
        UsageError: ONNX is among them and its libraries are not installed, or one of them cannot take such
            images.
    """
    if export_input is ExportInput.any_size:
        _check_any_size(formats)
    missing = [name for name in ONNX if find_spec(name) is None]
    if ExportName.onnx in formats and missing:
        raise UsageError(
            "exporting to ONNX needs libraries that are not installed",
            expected=", ".join(ONNX),
            found=f"no {', '.join(missing)}",
            done="nothing was run",
            todo="pip install 'plumbline[onnx]' (in a clone: pip install -e '.[onnx]'), or leave onnx out",
        )


def _check_any_size(formats: Sequence[ExportName]) -> None:
    if not formats:
        raise UsageError(
            "--export-input any-size has nothing to be applied to",
            expected="--exports with keras, saved-model, litert or onnx",
            found="no --exports",
            done="nothing was run",
            todo="add --exports, or leave out --export-input",
        )
    if ExportName.litert_int8 in formats:
        raise UsageError(
            "litert-int8 cannot scale images: 256 steps are too few for the weights of the filter",
            expected=", ".join(name for name in ExportName if name is not ExportName.litert_int8),
            found="--exports litert-int8 --export-input any-size",
            done="nothing was run",
            todo="leave out one of the two",
        )


def ingredients(
    model: Model,
    tensors: TensorCache,
    formats: Sequence[ExportName],
    raw: RawDataset | None = None,
    any_size: bool = False,
) -> Ingredients:
    """Everything that decides an export; the versions of the ONNX libraries only if ONNX is exported."""
    onnx = ONNX if ExportName.onnx in formats else ()
    inputs: dict[str, str] = {}
    parameters: dict[str, Any] = {"formats": sorted(str(name) for name in formats)}
    if any_size and raw is not None:
        inputs, parameters = {"raw": raw.digest}, parameters | {"input": "any-size"}
    modules, libraries = originals.ingredients(model, tensors, raw)
    inputs |= {"model": model.model_sha256, "tensors": tensors.digest}
    return EXPORT.ingredients(inputs, parameters, modules, (*onnx, *libraries))


def export(
    model: Model,
    tensors: TensorCache,
    formats: Sequence[ExportName],
    workspace: Workspace,
    raw: RawDataset | None = None,
    *,
    any_size: bool = False,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Exports:
    """Write the model in each format, load each file, and run it on all test images.

    Args:
        model: Its `model.keras` takes uint8 (N, H, W, C) and returns probabilities; so does every export.
        tensors: Tensor cache with the test images, and the training images for int8 quantization.
        formats: Formats to export.
        workspace: Where the output is written.
        raw: The source of the tensors; needed for a model that takes images of another size than theirs, and
            for `any_size`.
        any_size: Whether every export takes one image of any size, uint8 (1, H, W, C), and is verified on
            the test images of the source at their own size.
        refresh: Whether to export again if the output exists.
        progress: Called with formats done.

    Returns:
        Handle of the exports.

    Raises:
        UsageError: See `check_formats`.
        DataError: The images of the source have changed since they were listed.
    """
    check_formats(formats, ExportInput.any_size if any_size else ExportInput.fixed)
    predictions = predict_splits.predict_splits(model, tensors, workspace, raw, progress=progress)
    expected = predictions.path_of("test")
    return EXPORT.output(
        ingredients(model, tensors, formats, raw, any_size),
        workspace,
        lambda staging: _build(staging, model, tensors, formats, raw, expected, any_size, progress),
        refresh=refresh,
    )


def _build(
    staging: Path,
    model: Model,
    tensors: TensorCache,
    formats: Sequence[ExportName],
    raw: RawDataset | None,
    expected: Path,
    any_size: bool,
    progress: Progress,
) -> Mapping[str, Any]:
    with runtime.quiet_tensorflow():
        from tasks.core.model.export import certify

        images = certify.VerificationImages(tensors, raw, any_size, model, expected)
        description = Description.of(tensors, model.shape, fit=str(model.fit))
        results = []
        with certify.prepared(images.model_file, description, any_size) as to_export:
            for number, name in enumerate(sorted(formats)):
                progress(number, len(formats), str(name))
                results.append(certify.export(*to_export, name, staging, images))
    (staging / LABELS).write_text(labels_text(tensors.classes), encoding="utf-8", newline="")
    (staging / CERTIFICATE).write_text(json.dumps(results, indent=1))
    for result in results:
        log.info("  %s", verification.verification_text(result))
    return {
        "model_sha256": model.model_sha256,
        "passed": [result["format"] for result in results if result["passed"]],
        "refused": [result["format"] for result in results if not result["passed"]],
    }
