"""Exports a model in one format, and certifies the file on the test images."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tasks.core.config import ExportName, Fit
from tasks.core.data import decode
from tasks.core.data.loader.originals import open_labelled, target_of
from tasks.core.data.tensors.cache import Split
from tasks.core.model.export import any_size, formats, keras_file, originals, verification
from tasks.core.model.export.description import Description
from tasks.core.stage.handles import Model, RawDataset, TensorCache

CALIBRATION = 512  # number of training images from which int8 quantization learns value ranges
CALIBRATION_BYTES = 32 << 20  # of these images, at most
TIMED_ORIGINALS = 20  # different images of which the latency is measured


@dataclass(frozen=True)
class VerificationImages:
    """The images that exports are certified on.

    Args:
        tensors: Tensors with the test images.
        raw: The source; needed for a model that takes images of another size than the tensors, and for
            `any_size`.
        any_size: Whether the images are used at their own size.
        model: The published model.
        expected: Path of the probabilities of `model.keras`, float32 (N, classes), as `.npy`.
    """

    tensors: TensorCache
    raw: RawDataset | None
    any_size: bool
    model: Model
    expected: Path

    @property
    def model_file(self) -> Path:
        """Path of the published `model.keras`."""
        return self.model.directory / "model.keras"

    @cached_property
    def test(self) -> Split:
        """The test images, as the model takes them."""
        return open_labelled(self.tensors, "test", self.model, self.raw)

    @cached_property
    def train(self) -> Split:
        """The train images, as the model takes them."""
        return open_labelled(self.tensors, "train", self.model, self.raw)

    @property
    def calibration(self) -> int:
        """Number of train images from which int8 quantization learns."""
        return min(CALIBRATION, max(1, CALIBRATION_BYTES // int(np.prod(self.model.shape))))

    @cached_property
    def reference(self) -> NDArray[np.float32]:
        """The probabilities of `model.keras`, float32 (N, classes)."""
        return np.asarray(np.load(self.expected, mmap_mode="r", allow_pickle=False))


@contextmanager
def prepared(
    model: Path, description: Description, takes_any_size: bool
) -> Iterator[tuple[Path, Description]]:
    """The `model.keras` that other formats are made from, and what it says about itself.

    Args:
        model: The published `model.keras`.
        description: What it says about itself.
        takes_any_size: Whether the fit and the scaling are put before it, in a temporary file.
    """
    if not takes_any_size:
        yield model, description
        return
    described = replace(description, any_size=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        resizing = any_size.any_size_model(keras.models.load_model(model), Fit(description.fit))
        keras_file.write_keras(resizing, path, described)
        yield path, described


def export(
    model: Path, description: Description, name: ExportName, directory: Path, images: VerificationImages
) -> dict[str, Any]:
    """Write a model in a format and verify the file; one that does not pass is removed.

    Args:
        model: The `model.keras` to export.
        description: What the file says about itself.
        name: The format.
        directory: Where the file is written.
        images: Images to verify it on.

    Returns:
        The format's entry of the certificate, as JSON values.
    """
    examples = images.train.images[: images.calibration]
    path = formats.write_export(model, name, directory, examples, description)
    result = _verify(name, path, images)
    if not result["passed"]:
        formats.remove(path)
    return result


def _verify(name: ExportName, path: Path, images: VerificationImages) -> dict[str, Any]:
    if images.any_size and images.raw is not None:
        return _verify_originals(name, path, images, images.raw)
    test = images.test
    probabilities = formats.probabilities(path, name, test.images)
    latencies = formats.measure_latencies(path, name, test.images)
    return verification.verify(name, path, probabilities, images.reference, test.labels, latencies)


def _verify_originals(
    name: ExportName, path: Path, images: VerificationImages, raw: RawDataset
) -> dict[str, Any]:
    forward, model = formats.load(path, name), formats.load(images.model_file, ExportName.keras)
    rows, probabilities, same_pixels = [], [], []
    target = target_of(images.model)
    for row, image in originals.originals(raw, images.tensors, target.channels):
        rows.append(row)
        probabilities.append(forward(image[None])[0])
        same_pixels.append(model(decode.resize_and_convert(image, target)[None])[0])
    timed = [image for _, image in originals.originals(raw, images.tensors, target.channels, TIMED_ORIGINALS)]
    entry = verification.verify(
        name,
        path,
        np.array(probabilities),
        images.reference[rows],
        images.test.labels[rows],
        formats.measure_latencies(path, name, timed),
        verification.ANY_SIZE,
    )
    return verification.verify_scaling(entry, np.array(probabilities), np.array(same_pixels))
