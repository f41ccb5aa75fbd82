"""A table of predictions on disk, that grows batch by batch.

    out/batch=<id>/part-00000.parquet    rows of predictions; whole, or not there
    out/batch=<id>/_batch.json           what was asked, written first
    out/batch=<id>/_inputs.arrow         every image of the batch, by part (`inputs.InputChunk`)
    out/batch=<id>/_sample-00000.arrow   numbers of some of a part's images, to compare them with the model's
    out/batch=<id>/_done.json            written last: what came out

Names that begin with "_" are no rows to anything that reads such folders. An image is predicted once for a
model and threshold: what stands in a finished part is not asked for again. A batch that was killed goes on at
its first missing part; if something else is asked for, it ends with the parts that it has.
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

from tasks.core.data.inference.inputs import InputChunk
from tasks.core.errors import FormatError, UsageError
from tasks.core.storage import atomic, lock

FORMAT = 2  # 1 had the columns file and predicted_class
REQUEST, INPUTS, DONE = "_batch.json", "_inputs.arrow", "_done.json"
PART = 1 << 14  # images of a part, at least; the last has what is left
CHUNK = 1 << 14  # lines written at once
LINES = pa.schema(
    [
        ("place", pa.string()),
        ("start", pa.int64()),
        ("images", pa.int32()),
        ("bytes", pa.int64()),
        ("mark", pa.string()),
        ("key", pa.uint64()),
    ]
)


@dataclass(frozen=True)
class PredictionRequest:
    """What is asked of a model.

    Args:
        dataset, version, model_sha256: The model.
        places: What to read, as `inputs.absolute_path` gives it.
        threshold: The least confidence that is answered; None answers always.
    """

    dataset: str
    version: str
    model_sha256: str
    inputs: tuple[str, ...]
    threshold: float | None = None

    @property
    def answers(self) -> tuple[str, float | None]:
        """What decides the rows of an image."""
        return self.model_sha256, self.threshold


@dataclass(frozen=True)
class Batch:
    """A batch on disk.

    Args:
        directory: Absolute path.
        request: What was asked.
        parts: For each part the number of lines and of images.
    """

    directory: Path
    request: PredictionRequest
    parts: tuple[tuple[int, int], ...]

    @property
    def name(self) -> str:
        return self.directory.name.partition("=")[2]

    @property
    def images(self) -> int:
        return sum(images for _, images in self.parts)

    @property
    def seed(self) -> int:
        return int(self.name.rpartition("-")[2], 16)

    def path(self, part: int) -> Path:
        return self.directory / f"part-{part:05}.parquet"

    def sample(self, part: int) -> Path:
        return self.directory / f"_sample-{part:05}.arrow"

    @property
    def missing(self) -> list[int]:
        """The parts that are not there."""
        return [part for part in range(len(self.parts)) if not self.path(part).exists()]

    @property
    def done(self) -> dict[str, Any] | None:
        """What came out; None if the batch is not closed."""
        path = self.directory / DONE
        return dict(json.loads(path.read_bytes())) if path.exists() else None

    def chunks(self, part: int) -> list[InputChunk]:
        """What a part is made from."""
        first = sum(lines for lines, _ in self.parts[:part])
        with pa.memory_map(str(self.directory / INPUTS)) as file:
            table = pa.ipc.open_file(file).read_all().slice(first, self.parts[part][0]).drop_columns("key")
            values = (column.to_pylist() for column in table.columns)
            return [InputChunk(*row) for row in zip(*values, strict=True)]

    def keys(self) -> NDArray[np.uint64]:
        """The keys of all lines whose part is there, or will be since the batch goes on."""
        with pa.memory_map(str(self.directory / INPUTS)) as file:
            keys = pa.ipc.open_file(file).read_all()["key"].to_numpy()
            counts = [self.done is None or self.path(part).exists() for part in range(len(self.parts))]
            return keys[np.repeat(counts, [lines for lines, _ in self.parts])]

    def counts(self) -> dict[str, Any]:
        """How many images there are, of which class, abstained from, unreadable; reads part by part."""
        images, abstained, unreadable, classes = 0, 0, 0, Counter[str]()
        for part in range(len(self.parts)):
            rows = pq.read_table(self.path(part), columns=["predicted_class_name", "abstained", "problem"])
            images += len(rows)
            abstained += pc.sum(rows["abstained"]).as_py() or 0
            unreadable += len(rows) - rows["problem"].null_count
            counts = rows["predicted_class_name"].drop_null().value_counts()
            classes.update({count["values"].as_py(): count["counts"].as_py() for count in counts})
        return {
            "images": images,
            "abstained": abstained,
            "unreadable": unreadable,
            "classes": dict(classes.most_common()),
        }

    def first(self, count: int) -> list[dict[str, Any]]:
        """The first rows."""
        with pq.ParquetFile(self.path(0)) as file:
            return next(file.iter_batches(count), pa.record_batch({})).to_pylist()

    def finish(self, facts: Mapping[str, Any]) -> None:
        """Write down what came out; nothing is added to the batch any more."""
        content = {"format": FORMAT, **facts}
        atomic.write_bytes(self.directory / DONE, json.dumps(content, indent=1).encode())


@contextmanager
def locked_folder(out: Path) -> Iterator[None]:
    """The table for one writer alone, with what killed ones left half-written removed."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", expected="a folder, new or with earlier predictions")
    with lock.exclusive(out / ".lock"):
        for stale in [*out.glob(".*.tmp"), *out.glob("batch=*/.*.tmp")]:
            atomic.remove(stale)
        yield


def all_batches(out: Path) -> list[Batch]:
    """Every batch of the table, oldest first.

    Raises:
        FormatError: One is of a format that this version doesn't know.
    """
    return [_read(path.parent) for path in sorted(out.glob(f"batch=*/{REQUEST}"))]


def pending_batches(
    out: Path, request: PredictionRequest, lines: Iterable[InputChunk], part: int = PART
) -> list[Batch]:
    """The batches that are to be done: one that was left unfinished, and one of what is new.

    Args:
        out: The table; its lock must be held.
        request: What is asked. Unfinished batches that were asked something else end here.
        lines: What there is to read.
        part: Images of a part, at least.
    """
    unfinished = [batch for batch in all_batches(out) if batch.done is None]
    for batch in unfinished:
        if batch.request != request:
            batch.finish({"left": len(batch.missing)})
    going_on = [batch for batch in unfinished if batch.request == request]
    fresh = _plan(out, request, _new(lines, _keys(out, request), once=len(request.inputs) == 1), part)
    return going_on + ([fresh] if fresh else [])


def _read(directory: Path) -> Batch:
    content = json.loads((directory / REQUEST).read_bytes())
    if content["format"] != FORMAT:
        raise FormatError(
            f"{directory} is of an unknown format",
            expected=f"format {FORMAT}",
            found=f"format {content['format']}",
            done="nothing was predicted",
            todo="give another folder to --out: the columns have other names since this batch was written",
        )
    asked = content["request"] | {"inputs": tuple(content["request"]["inputs"])}
    return Batch(
        directory, PredictionRequest(**asked), tuple((lines, images) for lines, images in content["parts"])
    )


def _keys(out: Path, request: PredictionRequest) -> NDArray[np.uint64]:
    """Sorted keys of what this model has answered: 8 bytes an image file."""
    same = [batch.keys() for batch in all_batches(out) if batch.request.answers == request.answers]
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *same]))


def _new(
    lines: Iterable[InputChunk], keys: NDArray[np.uint64], *, once: bool
) -> Iterator[tuple[InputChunk, int]]:
    """The lines that are not known, with their keys.

    Args:
        once: Whether no line comes twice; else those that have come are remembered.
    """
    come: set[int] = set()
    for line in lines:
        key = line.key
        place = int(np.searchsorted(keys, np.uint64(key)))
        if key not in come and (place == len(keys) or keys[place] != key):
            yield line, key
        if not once:
            come.add(key)


def _plan(
    out: Path, request: PredictionRequest, lines: Iterator[tuple[InputChunk, int]], part: int
) -> Batch | None:
    """A new batch of these lines; None if there are none."""
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"
    final = out / f"batch={name}"
    with atomic.staging_directory(final) as staging:
        parts = _write_lines(staging / INPUTS, lines, part)
        if not parts:
            return None
        batch = Batch(final, request, parts)
        content = {"format": FORMAT, "request": asdict(request), "parts": parts}
        atomic.sync(staging / INPUTS)
        atomic.write_bytes(staging / REQUEST, json.dumps(content).encode())
        staging.rename(final)
        atomic.sync(out)
    return batch


def _write_lines(
    path: Path, lines: Iterator[tuple[InputChunk, int]], part: int
) -> tuple[tuple[int, int], ...]:
    parts: list[tuple[int, int]] = []
    count, images = 0, 0
    rows: list[tuple[Any, ...]] = []
    with pa.ipc.new_file(path, LINES) as writer:
        for line, key in lines:
            rows.append((*line, key))
            count, images = count + 1, images + line.images
            if images >= part:
                parts.append((count, images))
                count, images = 0, 0
            if len(rows) == CHUNK:
                _flush(writer, rows)
        _flush(writer, rows)
    return (*parts, (count, images)) if count else tuple(parts)


def _flush(writer: pa.RecordBatchFileWriter, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        columns = map(pa.array, zip(*rows, strict=True), LINES.types)
        writer.write_batch(pa.record_batch(list(columns), schema=LINES))
    rows.clear()
