"""A table of the embeddings of predicted images, for search and clusters: what the last layer sees."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.inference import output_folder
from tasks.core.data.inference.images import ImageBatch
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.errors import UsageError
from tasks.core.storage import atomic

SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "row": pa.int64(),  # row of the parquet file; null for an image file
        "embedding": pa.list_(pa.float32()),  # null for an image that could not be read
        "model": pa.string(),
    }
)
Floats = NDArray[np.float32]


def check_folder(folder: Path | None, out: Path) -> None:
    """Refuse a folder of embeddings that is a file, has other files, or lies where predictions are read from.

    Raises:
        UsageError: It does.
    """
    if folder is None:
        return
    output_folder.check(folder, output_folder.EMBEDDINGS, "embeddings")
    if folder.absolute() == out.absolute() or out.absolute() in folder.absolute().parents:
        raise UsageError(
            f"--embeddings {folder} lies in --out",
            expected="a folder beside it: readers of the predictions would read the embeddings, too",
            found=str(out),
            done="nothing was predicted",
        )


@dataclass
class EmbeddingsTable:
    """Writes one parquet file for each part of a batch.

    Args:
        folder: Its files are `<batch>-<part>.parquet`.
        model: The version, such as "v0003".
    """

    folder: Path
    model: str
    _rows: list[pa.RecordBatch] = field(default_factory=list)

    def add(self, images: ImageBatch, embeddings: Floats) -> None:
        """Add consecutive images of the batch.

        Args:
            images: The images.
            embeddings: float32 (size, D) with size >= len(images).
        """
        count = len(images)
        values = pa.array(list(embeddings[:count]), SCHEMA.field("embedding").type, mask=~images.readable)
        columns = [pa.array(images.paths), pa.array(images.rows, pa.int64()), values]
        self._rows.append(pa.record_batch([*columns, pa.array([self.model] * count)], SCHEMA))

    def write(self, batch: Batch, part: int) -> None:
        """Write the images that were added since the last call."""
        with atomic.replacing(self.folder / f"{batch.name}-{part:05}.parquet") as staging:
            pq.write_table(pa.Table.from_batches(self._rows, SCHEMA), staging)
        self._rows = []
