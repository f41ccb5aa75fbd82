"""Pairs of images that show the same scene, and images unlike all others of their class, by features."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit import descriptors
from tasks.core.data.audit.near_duplicates import neighbours
from tasks.core.data.audit.near_duplicates.neighbours import ClosePairs
from tasks.core.model.features.reading import averaged
from tasks.core.model.features.whitening import Whitening, normalized
from tasks.core.progress import Progress, ignore_progress

# A pair counts from this cosine on: BASE, plus 3 standard deviations of the cosine of unrelated images, which
# is 1 / sqrt(directions). Chosen on 1,250 photos of flowers and on copies that were cropped to 70 %, rotated
# by 12 degrees, stretched, blurred, recoloured, and partly painted over: with 512 directions (0.57), all 13
# pairs of the photos themselves show one scene, and the first pair that does not has 0.55.
BASE, DEVIATIONS = 0.44, 3.0
MIN_IMAGES = 100  # with fewer, copies and photos of one class are not told apart
# Of 15 foreign photos, the similarity to the 20 nearest finds 3 among 1,250 flowers, beside 3 others, and 14
# among 3,000 images of CIFAR-10, beside 31. With the 5 nearest it finds 0 beside 6, and 13 beside 39.
NEIGHBOURS = 20
FENCE = 1.0  # interquartile ranges below the quartile: from there on an image is an outlier
MIN_CLASS = 2 * NEIGHBOURS  # with fewer images of a class, it has no outliers
ROWS = 1024  # images that are compared with those of their class at a time
Floats = NDArray[np.float32]


def similar_pairs(features: NDArray[np.float16], progress: Progress = ignore_progress) -> ClosePairs:
    """The pairs that show the same scene, the closest first.

    Args:
        features: float16 (N, views, D), of images of different content.
        progress: Called with images done.

    Returns:
        The pairs; `distance` is 0 for equal features and 1 at the smallest cosine that counts.
    """
    if len(features) < MIN_IMAGES:
        nothing = np.zeros(0, np.int64)
        return ClosePairs(nothing, nothing, np.zeros(0, np.float32))
    vectors = Whitening.of(features).unit_vectors(features)
    radius = float(np.sqrt(2 - 2 * smallest_cosine(vectors.shape[1])))
    coordinates = descriptors.Descriptors(vectors, np.zeros((len(vectors), 0), np.float32))
    pairs = neighbours.within(coordinates, radius, progress=progress)
    return ClosePairs(pairs.a, pairs.b, (pairs.distance / np.float32(radius)) ** 2)


def smallest_cosine(directions: int) -> float:
    """The cosine from which on a pair counts.

    >>> round(smallest_cosine(512), 2), smallest_cosine(100)
    (0.57, 0.74)
    """
    return BASE + DEVIATIONS / directions**0.5


def similarity_to_class(features: NDArray[np.float16], labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """How alike each image is to its class: the mean cosine of its centred features with the nearest.

    Args:
        features: float16 (N, views, D).
        labels: int32 (N,).

    Returns:
        float32 (N,), -1..1; NaN for images of classes with fewer than `MIN_CLASS` images.
    """
    similarity = np.full(len(labels), np.nan, np.float32)
    mean = np.zeros(features.shape[2])
    for start in range(0, len(features), ROWS):
        mean += averaged(features[start : start + ROWS]).sum(0, dtype=np.float64)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) >= MIN_CLASS:
            vectors = normalized(averaged(features[members]) - (mean / len(features)).astype(np.float32))
            similarity[members] = _nearest(vectors)
    return similarity


def outliers(similarity: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which images are far less alike than most to those of their class: bool (N,).

    Args:
        similarity: float32 (N,), of `similarity_to_class`.
    """
    known = similarity[np.isfinite(similarity)]
    if not len(known):
        return np.zeros(len(similarity), bool)
    low, high = np.quantile(known, [0.25, 0.75])
    return np.nan_to_num(similarity, nan=np.inf) < low - FENCE * (high - low)


def _nearest(vectors: Floats) -> Floats:
    """The mean cosine of each vector with the nearest others."""
    means = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), ROWS):
        cosines = vectors[start : start + ROWS] @ vectors.T
        rows = np.arange(len(cosines))
        cosines[rows, rows + start] = -np.inf
        means[start : start + ROWS] = np.partition(cosines, -NEIGHBOURS, axis=1)[:, -NEIGHBOURS:].mean(1)
    return means
