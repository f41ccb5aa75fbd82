"""Classifying image files with a published model, in bounded memory."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core import stage
from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.errors import DecodeError, UsageError
from tasks.core.handles import ModelVersion
from tasks.core.model import predictions
from tasks.core.progress import Progress, silent

BATCH = 256
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}
SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("predicted_class", pa.string()),  # null for a file that is not a readable image
        ("probability", pa.float32()),
        ("probabilities", pa.list_(pa.float32())),
        ("problem", pa.string()),
        ("model", pa.string()),
    ]
)


def find(places: Sequence[Path]) -> list[Path]:
    """The image files among `places`: files as they are named, folders with all that is below them.

    Raises:
        UsageError: A place that isn't there, or no image at all.
    """
    missing = [place for place in places if not place.exists()]
    if missing:
        raise UsageError(f"{missing[0]} is not there", expected="image files or folders of images")
    files = [file for place in places for file in (_below(place) if place.is_dir() else [place])]
    if not files:
        raise UsageError(
            f"no images in {', '.join(map(str, places))}",
            expected=f"files that end in {', '.join(sorted(SUFFIXES))}",
        )
    return files


def classify(model: ModelVersion, files: Sequence[Path], out: Path, progress: Progress = silent) -> pa.Table:
    """Write one row a file to the parquet file `out`, whole or not at all, and return them.

    A file that cannot be read as an image has its reason in `problem` and no prediction.

    Args:
        model: Takes images of the shape, and knows the classes, that stand in its manifest.
        files: In the order of the rows.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with pq.ParquetWriter(staging, SCHEMA) as writer:
            for done, rows in _rows(model, files):
                writer.write_table(rows)
                progress(done, len(files), f"{done:,} of {len(files):,} images")
        stage.sync(staging)
        staging.replace(out)
    finally:
        staging.unlink(missing_ok=True)
    return pq.read_table(out)


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _rows(model: ModelVersion, files: Sequence[Path]) -> Iterator[tuple[int, pa.Table]]:
    facts = model.manifest["facts"]
    problems: list[list[str]] = []

    def batches() -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(files), BATCH):
            read = [_read(file, tuple(facts["shape"])) for file in files[start : start + BATCH]]
            problems.append([problem for _, problem in read])
            yield np.stack([image for image, _ in read])

    scored = predictions.predict_images(model.directory / "model.keras", batches())
    for number, probabilities in enumerate(scored):
        some = files[number * BATCH :][:BATCH]
        names = np.array(facts["classes"])[probabilities.argmax(axis=1)]
        yield number * BATCH + len(some), _table(some, problems[number], probabilities, names, model.version)


def _read(file: Path, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], str]:
    """The image, or black pixels that keep the batch's shape and the reason why there is none."""
    try:
        target = Target(size=shape[:2], channels=shape[2])
        return decode.decode(file.read_bytes(), target)[0], ""
    except (DecodeError, OSError) as error:
        return np.zeros(shape, np.uint8), str(error)


def _table(
    files: Sequence[Path],
    problems: Sequence[str],
    probabilities: NDArray[np.float32],
    names: NDArray[np.str_],
    version: str,
) -> pa.Table:
    rows = [
        {
            "file": str(file),
            "predicted_class": None if problem else str(name),
            "probability": None if problem else row.max(),
            "probabilities": None if problem else row.tolist(),
            "problem": problem or None,
            "model": version,
        }
        for file, problem, row, name in zip(files, problems, probabilities, names, strict=True)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)
