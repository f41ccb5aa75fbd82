"""How a model sees images, in a few numbers: places along the main directions of its last features.

Directions are those of the training images (principal components), the distance is Mahalanobis'. What a model
says of images is among the best signs of a shift: Z. C. Lipton et al., "Detecting and Correcting for Label
Shift with Black Box Predictors", ICML 2018.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
NAME = "embedding.npz"
DIRECTIONS = 8
MOST = 64  # directions in the distance
FLOOR = 1e-4  # of the largest variance; below, a direction is rounding


@dataclass(frozen=True)
class Projection:
    """A change of coordinates for embeddings.

    Args:
        mean: float32 (D,).
        directions: float32 (D, K), the most varied first; embeddings along them have variance 1.
    """

    mean: Floats
    directions: Floats

    @classmethod
    def of(cls, embeddings: Floats) -> "Projection":
        """Learn it from embeddings of training images, float32 (N, D)."""
        mean = embeddings.mean(0, dtype=np.float64)
        variances, vectors = np.linalg.eigh(np.cov(embeddings - mean, rowvar=False).reshape(len(mean), -1))
        order = [
            place for place in np.argsort(-variances)[:MOST] if variances[place] > FLOOR * variances.max()
        ]
        largest = np.abs(vectors[:, order]).argmax(0)
        signs = np.sign(vectors[largest, order])
        directions = vectors[:, order] * signs / np.sqrt(variances[order])
        return cls(mean.astype(np.float32), directions.astype(np.float32))

    def features(self, embeddings: Floats) -> dict[str, Floats]:
        """`embedding_1` and so on, and `embedding_distance` from the training images' centre."""
        placed = (embeddings - self.mean) @ self.directions
        along = {f"embedding_{number + 1}": values for number, values in enumerate(placed.T[:DIRECTIONS])}
        return along | {"embedding_distance": np.sqrt(np.square(placed).sum(1))}

    def write(self, directory: Path) -> None:
        np.savez(directory / NAME, allow_pickle=False, mean=self.mean, directions=self.directions)

    @classmethod
    def read(cls, directory: Path) -> "Projection":
        with np.load(directory / NAME, allow_pickle=False) as arrays:
            return cls(arrays["mean"], arrays["directions"])
