"""Batch prediction: runs a published model on the images of a batch, part by part, in bounded memory.

A thread reads and decodes images while the model predicts the previous ones. A part is written atomically,
and no image batch crosses the start of a part. A run that resumes after a kill keeps the finished parts, and
the other parts are byte-identical to those of an uninterrupted run.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.config import Fit, Precision
from tasks.core.data import threads
from tasks.core.data.inference.embeddings_table import EmbeddingsTable
from tasks.core.data.inference.images import ImageBatch, image_batches
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.model.inference import predictor, profile
from tasks.core.model.inference.drift_sample import DriftSample
from tasks.core.model.inference.label_candidates import LabelCandidates
from tasks.core.model.inference.prediction_rows import SCHEMA, prediction_rows
from tasks.core.progress import Progress, ProgressMeter, ignore_progress
from tasks.core.stage.handles import ModelVersion
from tasks.core.storage import atomic

PREFETCHED = 4  # image batches that are decoded ahead of the model
ROW_GROUP = 4096  # rows that are buffered until they are written as a row group
# Columns with few distinct values, or with long runs of one value.
DICTIONARY_COLUMNS = ["path", "predicted_label", "predicted_class_name", "problem", "model", "decision"]
Floats = NDArray[np.float32]


def predict(
    batch: Batch,
    model: ModelVersion,
    progress: Progress = ignore_progress,
    *,
    with_candidates: bool = False,
    embeddings: Path | None = None,
) -> None:
    """Write the missing parts of a batch, and their samples for the drift report.

    Args:
        batch: A batch whose request names the model.
        model: A published version; its manifest has the image shape, the fit and the classes.
        progress: Called with images done.
        with_candidates: Whether to write the candidates for the next labels, too.
        embeddings: The folder of a table of embeddings; None for no table.

    Raises:
        DataError: A parquet file has become unreadable.
        NetworkError: An address could not be reached; a retry may succeed.
        FormatError: A newer Plumbline published the model, with a fit that this one does not know.
    """
    missing = batch.missing
    if not missing:
        return
    facts = model.manifest["facts"]
    loaded = predictor.load(model.directory / "model.keras", Precision(batch.request.precision))
    projection = profile.of_version(model)
    sample = None if projection is None else DriftSample(batch, projection)
    meter = ProgressMeter(sum(batch.parts[part][1] for part in missing), "img", progress)
    writer = _PartWriter(batch, model.version, tuple(facts["classes"]), sample)
    writer.candidates = LabelCandidates() if with_candidates else None
    writer.embeddings = EmbeddingsTable(embeddings, model.version) if embeddings else None
    image_source = _images(batch, missing, loaded.size, model.shape, Fit.of(facts), model.grey_bits)
    for part, images in threads.prefetch(image_source, PREFETCHED):
        if images is None:
            writer.finish(part)
        else:
            writer.add(part, images, *loaded.forward(images.images))
            meter.step(len(images))


def write_predicted(
    batch: Batch, model: ModelVersion, images: ImageBatch, probabilities: Floats, embeddings: Floats
) -> None:
    """Write the only part of a batch whose images were predicted elsewhere, and its sample.

    Args:
        batch: A batch of one part.
        model: The version that predicted the images.
        images: All images of the batch.
        probabilities: float32 (N, classes).
        embeddings: float32 (N, D).
    """
    projection = profile.of_version(model)
    sample = None if projection is None else DriftSample(batch, projection)
    writer = _PartWriter(batch, model.version, tuple(model.manifest["facts"]["classes"]), sample)
    writer.add(0, images, probabilities, embeddings)
    writer.finish(0)


def _images(
    batch: Batch, parts: Sequence[int], size: int, shape: tuple[int, int, int], fit: Fit, grey_bits: int
) -> Iterator[tuple[int, ImageBatch | None]]:
    """The image batches of each part, and None at the end of the part."""
    for part in parts:
        for images in image_batches(batch.chunks(part), size, shape, fit, grey_bits):
            yield part, images
        yield part, None


class _PartWriter:
    """Writes the parts of a batch, one after the other."""

    def __init__(
        self, batch: Batch, version: str, classes: tuple[str, ...], sample: DriftSample | None
    ) -> None:
        self.batch, self.version, self.sample = batch, version, sample
        self.class_names = pa.array(classes, pa.string())
        self.starts = np.cumsum([0, *(images for _, images in batch.parts)])  # first image of each part
        self.candidates: LabelCandidates | None = None
        self.embeddings: EmbeddingsTable | None = None
        self.buffer = _RowBuffer()
        self.done = 0  # images of the current part
        self.writer: pq.ParquetWriter | None = None

    def add(self, part: int, images: ImageBatch, probabilities: Floats, embeddings: Floats) -> None:
        """Add predictions to the current part."""
        if self.sample is not None:
            self.sample.add(int(self.starts[part]) + self.done, images, probabilities, embeddings)
        if self.candidates is not None:
            self.candidates.add(images, probabilities, embeddings)
        if self.embeddings is not None:
            self.embeddings.add(images, embeddings)
        self.buffer.add(images, probabilities[: len(images)])
        self.done += len(images)
        if len(self.buffer.paths) >= ROW_GROUP:
            self._flush(self._open(part))

    def finish(self, part: int) -> None:
        """Publish the part: its rows last, since they make it a finished one."""
        writer = self._open(part)
        self._flush(writer)
        writer.close()
        if self.sample is not None:
            with atomic.replacing(self.batch.sample(part)) as staging:
                self.sample.write(staging)
        if self.candidates is not None:
            with atomic.replacing(self.batch.candidates(part)) as staging:
                self.candidates.write(staging)
        if self.embeddings is not None:
            self.embeddings.write(self.batch, part)
        atomic.move_file(atomic.staging_path(self.batch.path(part)), self.batch.path(part))
        self.writer, self.done = None, 0

    def _open(self, part: int) -> pq.ParquetWriter:
        if self.writer is None:
            path = atomic.staging_path(self.batch.path(part))
            self.writer = pq.ParquetWriter(path, SCHEMA, use_dictionary=DICTIONARY_COLUMNS)
        return self.writer

    def _flush(self, writer: pq.ParquetWriter) -> None:
        if self.buffer.paths:
            writer.write_table(self._table(self.buffer, np.concatenate(self.buffer.probabilities)))
        self.buffer = _RowBuffer()

    def _table(self, buffer: "_RowBuffer", probabilities: Floats) -> pa.Table:
        return prediction_rows(
            self.batch.request, self.class_names, buffer.paths, buffer.rows, buffer.problems, probabilities
        )


@dataclass
class _RowBuffer:
    """Collects rows until they are written: thousands at once cost a fifth of writing them one by one."""

    paths: list[str] = field(default_factory=list)
    rows: list[int | None] = field(default_factory=list)
    problems: list[str | None] = field(default_factory=list)
    probabilities: list[Floats] = field(default_factory=list)

    def add(self, images: ImageBatch, probabilities: Floats) -> None:
        """Add images with their probabilities, float32 (n, classes)."""
        self.paths += images.paths
        self.rows += images.rows
        self.problems += images.problems
        self.probabilities.append(probabilities)
