"""Batch prediction: a published model over the images of a batch, part by part, in bounded memory.

A thread reads and decodes while the model works on the blocks before. A part is written whole or not at all,
and its blocks begin with it: what a killed run had finished stays, what comes after is the same to the byte.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core import stage
from tasks.core.data import contents, prefetch
from tasks.core.data.batches import Batch
from tasks.core.data.contents import Block
from tasks.core.data.pace import Pace
from tasks.core.handles import ModelVersion
from tasks.core.model import profile, scoring
from tasks.core.model.embedding import Projection
from tasks.core.progress import Progress, silent

AHEAD = 4  # blocks that are decoded before the model wants them
GROUP = 4096  # rows held until they are written
SAMPLE = 10_000  # images of a batch that are compared with the profile
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("row", pa.int64()),  # in a parquet file; null for an image file
        ("predicted_class", pa.string()),  # null where the model abstained or the image can't be read
        ("probability", pa.float32()),  # of the likeliest class
        ("probabilities", pa.list_(pa.float32())),  # in the order of the model's classes
        ("abstained", pa.bool_()),
        ("problem", pa.string()),  # why the image can't be read; else null
        ("model", pa.string()),  # the version
    ]
)

Floats = NDArray[np.float32]


def predict(batch: Batch, model: ModelVersion, progress: Progress = silent) -> None:
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
    scorer = scoring.load(model.directory / "model.keras")
    pace = Pace(sum(batch.parts[part][1] for part in missing), "img", progress)
    writing = _Writing(batch, model.version, tuple(facts["classes"]), profile.of_version(model))
    for part, block in prefetch.ahead(_blocks(batch, missing, scorer.size, tuple(facts["shape"])), AHEAD):
        if block is None:
            writing.finish(part)
        else:
            writing.add(part, block, *scorer.forward(block.images))
            pace.step(len(block))


def _blocks(
    batch: Batch, parts: Sequence[int], size: int, shape: tuple[int, int, int]
) -> Iterator[tuple[int, Block | None]]:
    """The blocks of each part, and None at its end."""
    for part in parts:
        for block in contents.blocks(batch.lines(part), size, shape):
            yield part, block
        yield part, None


@dataclass
class _Writing:
    """Writes one part after the other."""

    batch: Batch
    version: str
    classes: tuple[str, ...]
    projection: Projection | None
    tables: list[pa.Table] = field(default_factory=list)
    numbers: list[dict[str, Floats]] = field(default_factory=list)
    done: int = 0  # images of the part
    writer: pq.ParquetWriter | None = None

    def __post_init__(self) -> None:
        self.names = pa.array(self.classes, pa.string())
        self.firsts = np.cumsum([0, *(images for _, images in self.batch.parts)])
        generator = np.random.default_rng(self.batch.seed)
        count = min(SAMPLE, self.batch.images)
        self.sampled = np.sort(generator.choice(self.batch.images, count, replace=False, shuffle=False))

    def add(self, part: int, block: Block, probabilities: Floats, embeddings: Floats) -> None:
        count = len(block)
        if self.projection is not None:
            self._note(part, block, probabilities, embeddings)
        self.tables.append(self._table(block, probabilities[:count]))
        self.done += count
        if sum(map(len, self.tables)) >= GROUP:
            self._flush(part)

    def finish(self, part: int) -> None:
        """Put the part in its place: first its sample, then its rows, by which it is there."""
        self._flush(part)
        if self.writer is not None:
            self.writer.close()
        if self.projection is not None:
            _put(self.batch.sample(part), lambda path: _write_sample(path, self.numbers))
        stage.sync(_staging(self.batch.path(part)))
        _staging(self.batch.path(part)).rename(self.batch.path(part))
        stage.sync(self.batch.directory)
        self.writer, self.numbers, self.done = None, [], 0

    def _flush(self, part: int) -> None:
        if self.writer is None:
            self.writer = pq.ParquetWriter(
                _staging(self.batch.path(part)), SCHEMA, use_dictionary=DICTIONARIES
            )
        if self.tables:
            self.writer.write_table(pa.concat_tables(self.tables))
        self.tables = []

    def _table(self, block: Block, probabilities: Floats) -> pa.Table:
        readable, likeliest = block.readable, probabilities.argmax(1)
        confidence = probabilities[np.arange(len(block)), likeliest]
        threshold = self.batch.asking.threshold
        abstained = readable & (confidence < (0 if threshold is None else threshold))
        answered = pa.array(likeliest.astype(np.int32), mask=~readable | abstained)
        columns = {
            "file": pa.array(block.files, pa.string()),
            "row": pa.array(block.rows, pa.int64()),
            "predicted_class": self.names.take(answered),
            "probability": pa.array(confidence, mask=~readable),
            "probabilities": _lists(probabilities, readable),
            "abstained": pa.array(abstained),
            "problem": pa.array(block.problems, pa.string()),
            "model": pa.repeat(self.version, len(block)),
        }
        return pa.table(columns, SCHEMA)

    def _note(self, part: int, block: Block, probabilities: Floats, embeddings: Floats) -> None:
        first = self.firsts[part] + self.done
        inside = self.sampled[slice(*np.searchsorted(self.sampled, [first, first + len(block)]))] - first
        kept = inside[block.readable[inside]]
        if len(kept) and self.projection is not None:
            self.numbers.append(
                profile.describe(
                    block.images[kept],
                    block.sizes[kept],
                    probabilities[kept],
                    embeddings[kept],
                    self.projection,
                )
            )


DICTIONARIES = ["predicted_class", "problem", "model"]


def _lists(values: Floats, there: NDArray[np.bool_]) -> pa.ListArray:
    """A row's values as a list; null where there are none."""
    ends = np.cumsum([0, *(len(row) if is_there else 0 for row, is_there in zip(values, there, strict=True))])
    offsets = pa.array(ends.astype(np.int32), mask=np.append(~there, False))
    return pa.ListArray.from_arrays(offsets, pa.array(values[there].ravel()))


def _staging(path: Path) -> Path:
    return path.with_name(f".{path.name}.tmp")


def _put(path: Path, write: Callable[[Path], None]) -> None:
    write(_staging(path))
    stage.sync(_staging(path))
    _staging(path).rename(path)


def _write_sample(path: Path, numbers: Sequence[dict[str, Floats]]) -> None:
    joined = (
        {name: np.concatenate([some[name] for some in numbers]) for name in numbers[0]} if numbers else {}
    )
    table = pa.table(joined)
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
