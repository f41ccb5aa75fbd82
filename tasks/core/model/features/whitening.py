"""Coordinates in which unrelated photos are nearly orthogonal, so that a high cosine means the same scene.

The features are centred, turned to the principal directions of the dataset and divided by the standard
deviation along each. What all photos of a class share then weighs little: H. Jégou and O. Chum, "Negative
Evidences and Co-occurences in Image Retrieval: The Benefit of PCA and Whitening", ECCV 2012.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.model.features.reading import averaged

Floats = NDArray[np.float32]
# Directions. With 512 instead of 64, 99 instead of 77 % of cropped copies of flowers are found at the same
# number of other pairs (docs/experiments.md). With more than half as many as images, copies are unlike each
# other, too.
MOST = 512
IMAGES_PER_DIRECTION = 2
BLOCK = 4096  # images in memory at a time, as float32
MIN_VARIANCE_SHARE = 1e-6  # of the largest variance; a direction with less is rounding error


@dataclass(frozen=True)
class Whitening:
    """A change of coordinates.

    Args:
        mean: float32 (D,).
        directions: float32 (D, K); variance 1 along each.
    """

    mean: Floats
    directions: Floats

    @classmethod
    def of(cls, features: NDArray[np.float16]) -> "Whitening":
        """Fit to features of images, float16 (N, views, D), block by block; may be memory-mapped."""
        total = np.zeros(features.shape[2])
        products = np.zeros((features.shape[2], features.shape[2]))
        for start in range(0, len(features), BLOCK):
            block = averaged(features[start : start + BLOCK]).astype(np.float64)
            total += block.sum(0)
            products += block.T @ block
        mean = total / len(features)
        variances, vectors = np.linalg.eigh(products / len(features) - np.outer(mean, mean))
        kept = np.argsort(-variances)[: min(MOST, len(features) // IMAGES_PER_DIRECTION)]
        kept = kept[variances[kept] > MIN_VARIANCE_SHARE * variances.max()]
        directions = vectors[:, kept] / np.sqrt(variances[kept])
        return cls(mean.astype(np.float32), directions.astype(np.float32))

    def unit_vectors(self, features: NDArray[np.float16]) -> Floats:
        """The coordinates of images, float16 (N, views, D), as vectors of length 1: float32 (N, K)."""
        vectors = np.empty((len(features), self.directions.shape[1]), np.float32)
        for start in range(0, len(features), BLOCK):
            block = (averaged(features[start : start + BLOCK]) - self.mean) @ self.directions
            vectors[start : start + BLOCK] = normalized(block)
        return vectors


def normalized(vectors: NDArray[np.floating]) -> Floats:
    """Vectors of length 1, float32 (N, K), of floats (N, K); a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)
