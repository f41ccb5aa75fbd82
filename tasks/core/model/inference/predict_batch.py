"""Batch prediction: a published model over the images of a batch, part by part, in bounded memory.

A thread reads and decodes while the model works on the blocks before. A part is written whole or not at all,
and its blocks begin with it: what a killed run had finished stays, what comes after is the same to the byte.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data import threads
from tasks.core.data.inference.images import ImageBatch, image_batches
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.model.inference import predictor, profile
from tasks.core.model.inference.drift_sample import DriftSample
from tasks.core.progress import Progress, ProgressMeter, ignore_progress
from tasks.core.stage.handles import ModelVersion
from tasks.core.storage import atomic

AHEAD = 4  # blocks that are decoded before the model wants them
GROUP = 4096  # rows held until they are written
REPEATED = [
    "path",
    "predicted_label",
    "predicted_class_name",
    "problem",
    "model",
]  # columns with few values, or long runs of one
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("row", pa.int64()),  # in a parquet file; null for an image file
        ("predicted_label", pa.int32()),  # null where the model abstained or the image can't be read
        ("predicted_class_name", pa.string()),  # null there, too
        ("probability", pa.float32()),  # of the likeliest class
        ("probabilities", pa.list_(pa.float32())),  # in the order of the model's classes
        ("abstained", pa.bool_()),
        ("problem", pa.string()),  # why the image can't be read; else null
        ("model", pa.string()),  # the version
    ]
)

Floats = NDArray[np.float32]


def predict(batch: Batch, model: ModelVersion, progress: Progress = ignore_progress) -> None:
    """Write the parts of a batch that are missing, and their samples for the comparison.

    Args:
        batch: Its asking names the model.
        model: Takes images of the shape, and knows the classes, that stand in its manifest.
        progress: Told images done.

    Raises:
        DataError: A parquet file can't be read any more.
        NetworkError: An address could not be reached; another try may help.
    """
    missing = batch.missing
    if not missing:
        return
    facts = model.manifest["facts"]
    loaded = predictor.load(model.directory / "model.keras")
    projection = profile.of_version(model)
    sample = None if projection is None else DriftSample(batch, projection)
    pace = ProgressMeter(sum(batch.parts[part][1] for part in missing), "img", progress)
    writing = _Writing(batch, model.version, tuple(facts["classes"]), sample)
    for part, block in threads.prefetch(_blocks(batch, missing, loaded.size, tuple(facts["shape"])), AHEAD):
        if block is None:
            writing.finish(part)
        else:
            writing.add(part, block, *loaded.forward(block.images))
            pace.step(len(block))


def _blocks(
    batch: Batch, parts: Sequence[int], size: int, shape: tuple[int, int, int]
) -> Iterator[tuple[int, ImageBatch | None]]:
    """The blocks of each part, and None at its end."""
    for part in parts:
        for block in image_batches(batch.chunks(part), size, shape):
            yield part, block
        yield part, None


class _Writing:
    """Writes one part after the other."""

    def __init__(
        self, batch: Batch, version: str, classes: tuple[str, ...], sample: DriftSample | None
    ) -> None:
        self.batch, self.version, self.sample = batch, version, sample
        self.names = pa.array(classes, pa.string())
        self.firsts = np.cumsum([0, *(images for _, images in batch.parts)])
        self.held = _Held()
        self.done = 0  # images of the part
        self.writer: pq.ParquetWriter | None = None

    def add(self, part: int, block: ImageBatch, probabilities: Floats, embeddings: Floats) -> None:
        if self.sample is not None:
            self.sample.note(int(self.firsts[part]) + self.done, block, probabilities, embeddings)
        self.held.add(block, probabilities[: len(block)])
        self.done += len(block)
        if len(self.held.files) >= GROUP:
            self._flush(self._opened(part))

    def finish(self, part: int) -> None:
        """Put the part in its place: first its sample, then its rows, by which it is there."""
        writer = self._opened(part)
        self._flush(writer)
        writer.close()
        if self.sample is not None:
            with atomic.replacing(self.batch.sample(part)) as staging:
                self.sample.write(staging)
        atomic.move_file(atomic.staging_path(self.batch.path(part)), self.batch.path(part))
        self.writer, self.done = None, 0

    def _opened(self, part: int) -> pq.ParquetWriter:
        if self.writer is None:
            path = atomic.staging_path(self.batch.path(part))
            self.writer = pq.ParquetWriter(path, SCHEMA, use_dictionary=REPEATED)
        return self.writer

    def _flush(self, writer: pq.ParquetWriter) -> None:
        if self.held.files:
            writer.write_table(self._table(self.held, np.concatenate(self.held.probabilities)))
        self.held = _Held()

    def _table(self, held: "_Held", probabilities: Floats) -> pa.Table:
        readable = np.array([problem is None for problem in held.problems], bool)
        likeliest = probabilities.argmax(1)
        confidence = probabilities[np.arange(len(likeliest)), likeliest]
        abstained = readable & (confidence < (self.batch.request.threshold or 0))
        answered = pa.array(likeliest.astype(np.int32), mask=~readable | abstained)
        columns = {
            "path": pa.array(held.files, pa.string()),
            "row": pa.array(held.rows, pa.int64()),
            "predicted_label": answered,
            "predicted_class_name": self.names.take(answered),
            "probability": pa.array(confidence, mask=~readable),
            "probabilities": _lists(probabilities, readable),
            "abstained": pa.array(abstained),
            "problem": pa.array(held.problems, pa.string()),
            "model": pa.repeat(self.version, len(likeliest)),
        }
        return pa.table(columns, SCHEMA)


@dataclass
class _Held:
    """What is known of images until their rows are written: some thousands at once cost a fifth of singly."""

    files: list[str] = field(default_factory=list)
    rows: list[int | None] = field(default_factory=list)
    problems: list[str | None] = field(default_factory=list)
    probabilities: list[Floats] = field(default_factory=list)

    def add(self, block: ImageBatch, probabilities: Floats) -> None:
        self.files += block.paths
        self.rows += block.rows
        self.problems += block.problems
        self.probabilities.append(probabilities)


def _lists(values: Floats, there: NDArray[np.bool_]) -> pa.ListArray:
    """A row's values as a list; null where there are none."""
    ends = np.cumsum(np.append(0, there * values.shape[1])).astype(np.int32)
    offsets = pa.array(ends, mask=np.append(~there, False))
    return pa.ListArray.from_arrays(offsets, pa.array(values[there].ravel()))
