"""The table of predictions on disk, which grows batch by batch.

    out/batch=<id>/part-00000.parquet    rows of predictions; written atomically
    out/batch=<id>/_batch.json           the request; written first
    out/batch=<id>/_inputs.arrow         every image of the batch, by part (`inputs.InputChunk`)
    out/batch=<id>/_sample-00000.arrow   features of a sample of a part's images, for the drift report
    out/batch=<id>/_candidates-00000.parquet   a part's least certain images, if images to label are wanted
    out/batch=<id>/_done.json            the result; written last

Programs that read such folders ignore names that begin with "_". An image is predicted once for each model,
threshold and operating point: images of a finished part are skipped. A batch that was killed continues at its
first missing part. If the next request differs, the batch ends with the parts that it has.
"""

import json
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.inference import inputs, output_folder, refused_files
from tasks.core.data.inference.inputs import InputChunk
from tasks.core.errors import FormatError
from tasks.core.storage import atomic, lock

FORMAT = 2  # format 1 had the columns file and predicted_class
REQUEST, INPUTS, DONE = "_batch.json", "_inputs.arrow", "_done.json"
PART = 1 << 14  # minimum images of a part, except the last
BLOCK = 1 << 14  # chunks written at a time
INPUTS_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("start", pa.int64()),
        ("images", pa.int32()),
        ("bytes", pa.int64()),
        ("version_tag", pa.string()),
        ("key", pa.uint64()),
    ]
)


@dataclass(frozen=True)
class PredictionRequest:
    """What a model is asked to predict.

    Args:
        dataset, version, model_sha256: The model.
        inputs: What to read, as `inputs.absolute_path` gives it.
        threshold: The model abstains below this confidence; None if it never abstains.
        operating_point: The record of the operating point that decides; None for the most probable class.
        precision: What the model calculates in, "float32" or "bfloat16". Images that it has answered in one
            are not predicted again in the other.
    """

    dataset: str
    version: str
    model_sha256: str
    inputs: tuple[str, ...]
    threshold: float | None = None
    operating_point: Mapping[str, Any] | None = None
    precision: str = "float32"

    @property
    def answers(self) -> tuple[str, float | None, Mapping[str, Any] | None]:
        """What determines the predictions of an image: model, threshold and operating point."""
        return self.model_sha256, self.threshold, self.operating_point


@dataclass(frozen=True)
class Batch:
    """A batch on disk.

    Args:
        directory: Absolute path.
        request: What the batch predicts.
        parts: The number of chunks and of images of each part.
    """

    directory: Path
    request: PredictionRequest
    parts: tuple[tuple[int, int], ...]

    @property
    def name(self) -> str:
        """The batch's id, such as 20260131-120000-1a2b3c4d."""
        return self.directory.name.partition("=")[2]

    @property
    def images(self) -> int:
        """Number of images in all parts."""
        return sum(images for _, images in self.parts)

    @property
    def seed(self) -> int:
        """Seed of the batch's samples, taken from its name."""
        return int(self.name.rpartition("-")[2], 16)

    def path(self, part: int) -> Path:
        """The path of a part's predictions."""
        return self.directory / f"part-{part:05}.parquet"

    def sample(self, part: int) -> Path:
        """The path of a part's sample."""
        return self.directory / f"_sample-{part:05}.arrow"

    def candidates(self, part: int) -> Path:
        """The path of a part's candidates for the next labels."""
        return self.directory / f"_candidates-{part:05}.parquet"

    @property
    def missing(self) -> list[int]:
        """The parts that are not written yet."""
        return [part for part in range(len(self.parts)) if not self.path(part).exists()]

    @property
    def done(self) -> dict[str, Any] | None:
        """The result; None if the batch is not finished."""
        path = self.directory / DONE
        return dict(json.loads(path.read_bytes())) if path.exists() else None

    def chunks(self, part: int) -> list[InputChunk]:
        """The inputs of a part."""
        first = sum(chunk_count for chunk_count, _ in self.parts[:part])
        with pa.memory_map(str(self.directory / INPUTS)) as file:
            table = pa.ipc.open_file(file).read_all().slice(first, self.parts[part][0]).drop_columns("key")
            values = (column.to_pylist() for column in table.columns)
            return [InputChunk(*row) for row in zip(*values, strict=True)]

    def keys(self) -> NDArray[np.uint64]:
        """The keys, uint64, of all chunks whose part exists, or will exist because the batch continues.

        Files that the machine did not let read then, and does now, are left out.
        """
        with pa.memory_map(str(self.directory / INPUTS)) as file:
            table = pa.ipc.open_file(file).read_all().select(["path", "key"])
            is_written = [self.path(part).exists() for part in range(len(self.parts))]
            by_part = is_written if self.done else [True] * len(self.parts)
            is_answered = np.repeat(by_part, [chunk_count for chunk_count, _ in self.parts])
            if (self.done or {}).get("unreadable") != 0:
                parts = [self.path(part) for part, written in enumerate(is_written) if written]
                again = pa.array(refused_files.readable_now(parts), pa.string())
                is_answered &= ~pc.is_in(table["path"], again).to_numpy()
            return np.asarray(table["key"].to_numpy()[is_answered])

    def counts(self) -> dict[str, Any]:
        """Number of images, of each predicted class, abstained and unreadable; reads part by part."""
        images, abstained, unreadable, classes = 0, 0, 0, Counter[str]()
        for part in range(len(self.parts)):
            rows = pq.read_table(self.path(part), columns=["predicted_class_name", "abstained", "problem"])
            images += len(rows)
            abstained += pc.sum(rows["abstained"]).as_py() or 0
            unreadable += len(rows) - rows["problem"].null_count
            class_counts = rows["predicted_class_name"].drop_null().value_counts()
            classes.update({entry["values"].as_py(): entry["counts"].as_py() for entry in class_counts})
        return {
            "images": images,
            "abstained": abstained,
            "unreadable": unreadable,
            "classes": dict(classes.most_common()),
        }

    def first(self, count: int) -> list[dict[str, Any]]:
        """The first `count` rows."""
        with pq.ParquetFile(self.path(0)) as file:
            return next(file.iter_batches(count), pa.record_batch({})).to_pylist()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write the result. Nothing is added to the batch afterwards."""
        content = {"format": FORMAT, **facts}
        atomic.write_bytes(self.directory / DONE, json.dumps(content, indent=1).encode())


@contextmanager
def locked_folder(out: Path) -> Iterator[None]:
    """Hold the table's lock, so that there is one writer. Partial files of killed writers are removed.

    Raises:
        UsageError: `out` is a file, or has other files.
    """
    output_folder.check(out)
    with lock.exclusive(out / ".lock"):
        for stale in [*out.glob(".*.tmp"), *out.glob("batch=*/.*.tmp")]:
            atomic.remove(stale)
        yield


def all_batches(out: Path) -> list[Batch]:
    """Every batch of the table, oldest first.

    Raises:
        FormatError: A batch has a format that this version does not know.
    """
    return [_read_batch(path.parent) for path in sorted(out.glob(f"batch=*/{REQUEST}"))]


def pending_batches(
    out: Path, request: PredictionRequest, chunks: Iterable[InputChunk], part: int = PART
) -> list[Batch]:
    """The batches to predict: an unfinished one with the same request, and one with the new images.

    Args:
        out: The table; its lock must be held.
        request: What to predict. Unfinished batches with another request are finished as they are.
        chunks: What there is to read.
        part: Minimum images of a part.
    """
    unfinished = [batch for batch in all_batches(out) if batch.done is None]
    for batch in unfinished:
        if batch.request != request:
            batch.finish({"left": len(batch.missing)})
    continued = [batch for batch in unfinished if batch.request == request]
    answered, is_one = _answered_keys(out, request), len(request.inputs) == 1
    new_batch = create_batch(out, request, inputs.new_chunks(chunks, answered, unique=is_one), part)
    return continued + ([new_batch] if new_batch else [])


def _read_batch(directory: Path) -> Batch:
    content = json.loads((directory / REQUEST).read_bytes())
    if content["format"] != FORMAT:
        raise FormatError(
            f"{directory} has an unknown format",
            expected=f"format {FORMAT}",
            found=f"format {content['format']}",
            done="nothing was predicted",
            todo="choose another folder with --out; the names of the columns have changed since then",
        )
    fields = content["request"] | {"inputs": tuple(content["request"]["inputs"])}
    return Batch(
        directory,
        PredictionRequest(**fields),
        tuple((chunk_count, images) for chunk_count, images in content["parts"]),
    )


def _answered_keys(out: Path, request: PredictionRequest) -> NDArray[np.uint64]:
    """Sorted keys of the chunks that this model has answered: 8 bytes per image file."""
    keys = [batch.keys() for batch in all_batches(out) if batch.request.answers == request.answers]
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *keys]))


def create_batch(
    out: Path, request: PredictionRequest, chunks: Iterator[tuple[InputChunk, int]], part: int
) -> Batch | None:
    """A new batch of these chunks, with their keys; None if there are none. The table's lock must be held."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    final = out / f"batch={name}"
    with atomic.staging_directory(final) as staging:
        parts = _write_inputs(staging / INPUTS, chunks, part)
        if not parts:
            return None
        batch = Batch(final, request, parts)
        content = {"format": FORMAT, "request": asdict(request), "parts": parts}
        atomic.sync(staging / INPUTS)
        atomic.write_bytes(staging / REQUEST, json.dumps(content).encode())
        staging.rename(final)
        atomic.sync(out)
    return batch


def _write_inputs(
    path: Path, chunks: Iterator[tuple[InputChunk, int]], part: int
) -> tuple[tuple[int, int], ...]:
    parts: list[tuple[int, int]] = []
    count, images = 0, 0
    rows: list[tuple[Any, ...]] = []
    with pa.ipc.new_file(path, INPUTS_SCHEMA) as writer:
        for chunk, key in chunks:
            rows.append((*chunk, key))
            count, images = count + 1, images + chunk.images
            if images >= part:
                parts.append((count, images))
                count, images = 0, 0
            if len(rows) == BLOCK:
                _flush(writer, rows)
        _flush(writer, rows)
    return (*parts, (count, images)) if count else tuple(parts)


def _flush(writer: pa.RecordBatchFileWriter, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        columns = map(pa.array, zip(*rows, strict=True), INPUTS_SCHEMA.types)
        writer.write_batch(pa.record_batch(list(columns), schema=INPUTS_SCHEMA))
    rows.clear()
