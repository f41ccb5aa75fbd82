"""The images of a batch to label next: `_label_next.parquet` and a contact sheet, `_label_next.html`."""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.data.inference.prediction_table import Batch, all_batches
from tasks.core.errors import UsageError
from tasks.core.metrics.labels import active_learning
from tasks.core.model.inference.label_candidates import MOST
from tasks.core.reports.plots import data_uri
from tasks.core.reports.render import render
from tasks.core.review.items import LABEL_NEXT, Item, Prediction
from tasks.core.stage.handles import ModelVersion
from tasks.core.storage import atomic

TABLE, PAGE = "_label_next.parquet", "_label_next.html"
SCHEMA = pa.schema(
    {
        "rank": pa.int64(),
        "path": pa.string(),
        "row": pa.int64(),
        "predicted_class_name": pa.string(),
        "probability": pa.float32(),
        "second_class_name": pa.string(),
        "second_probability": pa.float32(),
        "margin": pa.float32(),
    }
)


def check_count(count: int) -> None:
    """Refuse a number of images that cannot be chosen.

    Raises:
        UsageError: The number is negative or too large.
    """
    if not 0 <= count <= MOST:
        raise UsageError("--label-next is out of range", expected=f"0 to {MOST:,}", found=f"{count:,}")


def write_label_next(batch: Batch, version: ModelVersion, count: int) -> int:
    """Choose images that the model is unsure about and that are unlike each other, and write them.

    Args:
        batch: The batch; all of its parts exist.
        version: The model that predicted the batch.
        count: How many images are wanted.

    Returns:
        How many were chosen: fewer where the batch has no more, or its parts were predicted by a run that
        did not ask for them.
    """
    candidates = heapq.nsmallest(MOST, _candidates(batch), key=lambda row: float(row["margin"]))
    chosen = [candidates[number] for number in _choose(candidates, count, batch.seed)]
    classes = version.manifest["facts"]["classes"]
    rows = [_row(rank, candidate, classes) for rank, candidate in enumerate(chosen, 1)]
    with atomic.replacing(batch.directory / TABLE) as staging:
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), staging)
    page = _page(batch, version, rows, [data_uri(candidate["picture"]) for candidate in chosen])
    atomic.write_bytes(batch.directory / PAGE, page.encode())
    return len(rows)


def read_label_next(directory: Path) -> pa.Table:
    """The table of a batch; columns as in `SCHEMA`."""
    return pq.read_table(directory / TABLE)


def read_items(folder: Path, dataset: str) -> list[Item]:
    """The image files of a batch to label next, for a review; rows of parquet files are left out.

    Args:
        folder: A batch, or the folder of all batches: then the newest one with images to label.
        dataset: The dataset of the model that predicted the batch.

    Raises:
        UsageError: There is no such batch, or its model is of another dataset.
    """
    table = max([*folder.glob(TABLE), *folder.glob(f"batch=*/{TABLE}")], default=None)
    batches = (
        [batch for batch in all_batches(table.parent.parent) if batch.directory == table.parent]
        if table
        else []
    )
    if table is None or not batches or batches[0].request.dataset != dataset:
        raise UsageError(
            f"{folder} has no images to label next for {dataset}",
            expected="a batch of `plumbline predict --label-next` by a model of this dataset",
            found=f"a batch of {batches[0].request.dataset}" if batches else f"no {TABLE}",
        )
    pictures = {row["path"]: row["picture"] for row in _candidates(batches[0])}
    return [
        _item(row, batches[0], pictures)
        for row in read_label_next(table.parent).to_pylist()
        if row["row"] is None
    ]


def _item(row: dict[str, Any], batch: Batch, pictures: dict[str, bytes]) -> Item:
    prediction = Prediction(batch.request.version, row["predicted_class_name"], float(row["probability"]))
    names = {"image_id": "", "path": row["path"], "class_name": "", "lists": (LABEL_NEXT,)}
    return Item(**names, predictions=(prediction,), thumbnail=pictures.get(row["path"], b""))


def _candidates(batch: Batch) -> Iterator[dict[str, Any]]:
    """The candidates of all parts, one part in memory at a time."""
    for part in range(len(batch.parts)):
        if batch.candidates(part).exists():
            yield from pq.read_table(batch.candidates(part)).to_pylist()


def _choose(candidates: list[dict[str, Any]], count: int, seed: int) -> list[int]:
    if not candidates:
        return []
    probabilities, embeddings = (
        np.array([row[name] for row in candidates], np.float32) for name in ("probabilities", "embedding")
    )
    return active_learning.uncertain_and_diverse(probabilities, embeddings, count, seed).tolist()


def _row(rank: int, candidate: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    probabilities = np.array(candidate["probabilities"])
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    return {
        "rank": rank,
        "path": candidate["path"],
        "row": candidate["row"],
        "predicted_class_name": classes[first],
        "probability": probabilities[first],
        "second_class_name": classes[second],
        "second_probability": probabilities[second],
        "margin": candidate["margin"],
    }


def _page(batch: Batch, version: ModelVersion, rows: list[dict[str, Any]], pictures: list[str]) -> str:
    content = {
        "title": f"{version.dataset} {version.version}",
        "batch": batch.name,
        "images": batch.images,
        "rows": [row | {"picture": picture} for row, picture in zip(rows, pictures, strict=True)],
        "table": TABLE,
    }
    return render("label_next.html.j2", content)
