"""A published model that answers requests, with the decision that `plumbline predict` makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.core.config import Fit, Precision
from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.data.inference.pixel_count import check_pixels
from tasks.core.data.inference.prediction_table import PredictionRequest
from tasks.core.errors import DecodeError
from tasks.core.evaluation import abstention, point_of_version
from tasks.core.model.devices import bfloat16_certificate
from tasks.core.model.inference.online_predictor import OnlinePredictor
from tasks.core.registry import registry
from tasks.core.serving.bodies import Upload
from tasks.core.stage.handles import ModelVersion
from tasks.core.workspace import Workspace

Floats = NDArray[np.float32]
TOO_LARGE = "over-sized"  # how a problem of too many pixels begins


@dataclass(frozen=True)
class DecisionOptions:
    """How probabilities become answers; the options of `plumbline predict`.

    Args:
        abstain: The error rate below which the answers must stay; None for no such limit.
        threshold: The confidence below which no answer is given; None for none.
        most_probable: Whether the operating point is left out.
    """

    abstain: float | None = None
    threshold: float | None = None
    most_probable: bool = False


@dataclass(frozen=True)
class DecodedUpload:
    """An image for the model.

    Args:
        name: As in `Upload`.
        pixels: uint8 (H, W, C); None if it cannot be read.
        size: Height and width before it was resized.
        problem: Why it cannot be read; None if it can.
    """

    name: str
    pixels: NDArray[np.uint8] | None
    size: tuple[int, int] = (0, 0)
    problem: str | None = None


@dataclass(frozen=True)
class ServedModel:
    """A version in memory.

    Args:
        version: The version.
        predictor: Its compiled model.
        request: Its threshold and operating point.
    """

    version: ModelVersion
    predictor: OnlinePredictor
    request: PredictionRequest

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return tuple(self.version.manifest["facts"]["classes"])

    @cached_property
    def target(self) -> Target:
        """What images are decoded to."""
        height, width, channels = self.version.shape
        fit = Fit.of(self.version.manifest["facts"])
        return Target((height, width), channels, fit, self.version.grey_bits)

    def decode(self, upload: Upload, max_pixels: int) -> DecodedUpload:
        """Decode an image as the training images were."""
        if upload.problem:
            return DecodedUpload(upload.name, None, problem=upload.problem)
        try:
            check_pixels(upload.content, max_pixels)
            pixels, (height, width, _) = decode.decode(bytes(upload.content), self.target)
        except DecodeError as error:
            return DecodedUpload(upload.name, None, problem=error.summary)
        return DecodedUpload(upload.name, pixels, (height, width))

    def rows(self, images: Sequence[DecodedUpload], probabilities: Floats) -> list[dict[str, Any]]:
        """The answers, as rows of the prediction table.

        Args:
            images: N images.
            probabilities: float32 (N, classes); any values for unreadable images.
        """
        from tasks.core.model.inference.prediction_rows import prediction_rows

        names = pa.array(self.classes, pa.string())
        names_of_files = [image.name for image in images]
        problems = [image.problem for image in images]
        rows: list[int | None] = [None] * len(images)
        return prediction_rows(self.request, names, names_of_files, rows, problems, probabilities).to_pylist()

    def facts(self) -> dict[str, Any]:
        """What `/metadata` says."""
        facts = self.version.manifest["facts"]
        height, width, channels = self.version.shape
        return {
            "dataset": self.version.dataset,
            "version": self.version.version,
            "published": self.version.manifest["created"],
            "model_sha256": self.version.model_sha256,
            "classes": list(self.classes),
            "input": {"height": height, "width": width, "channels": channels, "fit": str(self.target.fit)},
            "threshold": self.request.threshold,
            "abstention": facts.get("abstention", []),
            "operating_point": self.request.operating_point,
            "decision": list(point_of_version.sentences(self.version))
            if self.request.operating_point
            else [],
            "metrics": facts.get("metrics", {}),
            "tensors": facts.get("tensors"),
            "training": facts.get("training"),
        }


def load(dataset: str, name: str, options: DecisionOptions, workspace: Workspace) -> ServedModel:
    """Load a version, after a check of every byte of its files.

    Args:
        dataset: The dataset.
        name: A version or an alias.
        options: How it decides.
        workspace: The workspace with the registry.

    Raises:
        RegistryError: No such version, or a damaged one.
        UsageError: The version cannot decide as the options say.
    """
    from tasks.core.model.inference import online_predictor

    version = registry.resolve(dataset, name, workspace)
    given = options.threshold if options.abstain is None else options.abstain
    point = point_of_version.to_apply(version, most_probable=options.most_probable, abstains=given)
    lowest = abstention.threshold(version, options.abstain, options.threshold)
    proven, folder = lowest is not None or point is not None, version.directory / registry.PROFILE
    precision = bfloat16_certificate.choose(folder, Precision.auto, proven=proven)
    model = (version.dataset, version.version, version.model_sha256)
    request = PredictionRequest(*model, (), lowest, point, str(precision))
    return ServedModel(version, online_predictor.load(version.directory / registry.MODEL, precision), request)
