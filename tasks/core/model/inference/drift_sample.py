"""A random sample of a batch's images, with the statistics that are compared with the model's profile."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.core.data.audit import image_stats
from tasks.core.data.inference.images import ImageBatch
from tasks.core.data.inference.prediction_table import Batch
from tasks.core.model.inference.embedding import Projection

IMAGES = 5_000  # maximum sample; against a profile of 2,000 images, more would not detect smaller shifts
Floats = NDArray[np.float32]


class DriftSample:
    """Collects the features of a random sample of a batch's images.

    The sample follows from the batch's seed, so that a resumed batch samples the same images.

    Args:
        batch: The batch.
        projection: Projection of the embeddings, from the model's profile.
    """

    def __init__(self, batch: Batch, projection: Projection) -> None:
        self._projection = projection
        generator = np.random.default_rng(batch.seed)
        count = min(IMAGES, batch.images)
        self._sampled = np.sort(generator.choice(batch.images, count, replace=False, shuffle=False))
        self._stats: list[dict[str, Floats]] = []
        self._embeddings: list[Floats] = []

    def add(self, first: int, images: ImageBatch, probabilities: Floats, embeddings: Floats) -> None:
        """Add those of the images that are in the sample and readable.

        Args:
            first: Index in the batch of the first of the images.
            images: Consecutive images of the batch.
            probabilities: float32 (size, classes).
            embeddings: float32 (size, D).
        """
        sampled = self._sampled[slice(*np.searchsorted(self._sampled, [first, first + len(images)]))] - first
        rows = sampled[images.readable[sampled]]
        if len(rows):
            confidence = {"confidence": probabilities[rows].max(1)}
            self._stats.append(image_stats.of(images.images[rows], images.sizes[rows]) | confidence)
            self._embeddings.append(embeddings[rows])

    def write(self, path: Path) -> None:
        """Write the features of all images added since the last call, as an Arrow file."""
        features: dict[str, Floats] = {}
        if self._stats:
            features = {
                name: np.concatenate([stats[name] for stats in self._stats]) for name in self._stats[0]
            }
            # One product for all images: a product per image batch would make NumPy's threads wait for
            # TensorFlow's.
            features |= self._projection.features(np.concatenate(self._embeddings))
        table = pa.table(features)
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
        self._stats, self._embeddings = [], []
