"""The images of a batch that a model is least sure about: candidates for the next labels.

Only they are kept, with their embeddings and small pictures: some 35 MB, however large the batch is.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from tasks.core.data.inference.images import ImageBatch
from tasks.core.data.pixels import as_picture
from tasks.core.metrics.labels import active_learning

MOST = 1000  # candidates of a part of the batch
SIDE = 96  # pixels of a picture
SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "row": pa.int64(),  # row of the parquet file; null for an image file
        "margin": pa.float32(),
        "probabilities": pa.list_(pa.float32()),
        "embedding": pa.list_(pa.float32()),
        "picture": pa.binary(),  # PNG
    }
)
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LabelCandidate:
    """An image, with the fields of `SCHEMA`; the picture is not encoded yet."""

    path: str
    row: int | None
    margin: float
    probabilities: Floats
    embedding: Floats
    picture: Image.Image

    def record(self) -> dict[str, object]:
        """The row of the table."""
        content = io.BytesIO()
        self.picture.save(content, "png")
        values = {name: getattr(self, name) for name in SCHEMA.names}
        return values | {"picture": content.getvalue()}


@dataclass
class LabelCandidates:
    """Collects the candidates of one part of a batch after the other."""

    rows: list[LabelCandidate] = field(default_factory=list)
    largest: float = np.inf  # margins from it on are of no interest

    def add(self, images: ImageBatch, probabilities: Floats, embeddings: Floats) -> None:
        """Add those of the images that are readable and less certain than the candidates so far.

        Args:
            images: Consecutive images of the batch.
            probabilities: float32 (size, classes); nothing is added if there is one class.
            embeddings: float32 (size, D).
        """
        if probabilities.shape[1] < 2:
            return
        margins = active_learning.margins(probabilities[: len(images)])
        for number in np.flatnonzero(images.readable & (margins < self.largest)).tolist():
            place, margin = (images.paths[number], images.rows[number]), float(margins[number])
            told = probabilities[number].copy(), embeddings[number].copy()
            self.rows.append(LabelCandidate(*place, margin, *told, _reduced(images.images[number])))
        if len(self.rows) > 2 * MOST:
            self._keep_most_uncertain()

    def write(self, path: Path) -> None:
        """Write the candidates that were added since the last call, the least certain first."""
        self._keep_most_uncertain()
        pq.write_table(pa.Table.from_pylist([row.record() for row in self.rows], SCHEMA), path)
        self.rows, self.largest = [], np.inf

    def _keep_most_uncertain(self) -> None:
        self.rows = sorted(self.rows, key=lambda row: row.margin)[:MOST]
        if len(self.rows) == MOST:
            self.largest = self.rows[-1].margin


def _reduced(image: NDArray[np.uint8]) -> Image.Image:
    picture = as_picture(image.copy())
    picture.thumbnail((SIDE, SIDE))
    return picture
