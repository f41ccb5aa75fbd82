"""Projects a model's embeddings onto a few coordinates, in which the images of two batches are compared.

The directions are the principal components of the training images' embeddings; the distance is Mahalanobis
distance. A model's own outputs are among the best indicators of a shift: Z. C. Lipton et al., "Detecting and
Correcting for Label Shift with Black Box Predictors", ICML 2018.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
NAME = "embedding.npz"
DIRECTIONS = 8  # directions that are features of their own
MAX_DIRECTIONS = 64  # directions in the distance
MIN_VARIANCE_SHARE = 1e-4  # of the largest variance; a direction with less is rounding error


@dataclass(frozen=True)
class Projection:
    """A change of coordinates for embeddings.

    Args:
        mean: Mean embedding of the training images, float32 (D,).
        directions: float32 (D, K), in descending order of variance, scaled so that the training images'
            embeddings have variance 1 along each.
    """

    mean: Floats
    directions: Floats

    @classmethod
    def of(cls, embeddings: Floats) -> "Projection":
        """Fit a projection to embeddings of training images, float32 (N, D)."""
        mean = embeddings.mean(0, dtype=np.float64)
        variances, vectors = np.linalg.eigh(np.cov(embeddings - mean, rowvar=False).reshape(len(mean), -1))
        order = [
            index
            for index in np.argsort(-variances)[:MAX_DIRECTIONS]
            if variances[index] > MIN_VARIANCE_SHARE * variances.max()
        ]
        largest = np.abs(vectors[:, order]).argmax(0)
        signs = np.sign(vectors[largest, order])
        directions = vectors[:, order] * signs / np.sqrt(variances[order])
        return cls(mean.astype(np.float32), directions.astype(np.float32))

    def features(self, embeddings: Floats) -> dict[str, Floats]:
        """Features of embeddings, float32 (N, D).

        Returns:
            `embedding_1` to `embedding_8`, and `embedding_distance` from the training images' mean; float32
            (N,) each.
        """
        coordinates = (embeddings - self.mean) @ self.directions
        features = {
            f"embedding_{number + 1}": values for number, values in enumerate(coordinates.T[:DIRECTIONS])
        }
        return features | {"embedding_distance": np.sqrt(np.square(coordinates).sum(1))}

    def write(self, directory: Path) -> None:
        """Write the projection as `embedding.npz` into a directory."""
        np.savez(directory / NAME, allow_pickle=False, mean=self.mean, directions=self.directions)

    @classmethod
    def read(cls, directory: Path) -> "Projection":
        """Read the projection that `write` wrote into a directory."""
        with np.load(directory / NAME, allow_pickle=False) as arrays:
            return cls(arrays["mean"], arrays["directions"])
