"""Some of a batch's images, and what is known of them, to compare the batch with its model's profile."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.core.data.audit import image_stats
from tasks.core.data.inference.images import ImageBatch
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.model.inference.embedding import Projection

IMAGES = 5_000  # of a batch; more would tell apart no more from a profile of 2,000
Floats = NDArray[np.float32]


class DriftSample:
    """The images of a batch that were drawn, by lot: the same ones whenever the batch goes on.

    Args:
        batch: The batch.
        projection: For the embeddings.
    """

    def __init__(self, batch: Batch, projection: Projection) -> None:
        self._projection = projection
        generator = np.random.default_rng(batch.seed)
        count = min(IMAGES, batch.images)
        self._drawn = np.sort(generator.choice(batch.images, count, replace=False, shuffle=False))
        self._traits: list[dict[str, Floats]] = []
        self._embeddings: list[Floats] = []

    def note(self, first: int, block: ImageBatch, probabilities: Floats, embeddings: Floats) -> None:
        """Look at those images of a block that were drawn and could be read.

        Args:
            first: The number of the block's first image in the batch.
        """
        inside = self._drawn[slice(*np.searchsorted(self._drawn, [first, first + len(block)]))] - first
        kept = inside[block.readable[inside]]
        if len(kept):
            confidence = {"confidence": probabilities[kept].max(1)}
            self._traits.append(image_stats.of(block.images[kept], block.sizes[kept]) | confidence)
            self._embeddings.append(embeddings[kept])

    def write(self, path: Path) -> None:
        """Write the numbers of all that was noted since the last time."""
        numbers: dict[str, Floats] = {}
        if self._traits:
            numbers = {
                name: np.concatenate([some[name] for some in self._traits]) for name in self._traits[0]
            }
            # All at once: a product of matrices a block would have its threads wait for those of TensorFlow.
            numbers |= self._projection.features(np.concatenate(self._embeddings))
        table = pa.table(numbers)
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
        self._traits, self._embeddings = [], []
