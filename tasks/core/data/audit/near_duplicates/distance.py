"""A distance between images, learned from perturbed copies.

A sample of the dataset's own images is recompressed, shifted and brightened. The distance weighs the
directions in which different images differ more than an image and its copy do (Fisher's linear
discriminant, 1936). The radius within which a copy lies is measured on the copies of the other half of the
sample.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit.descriptors import Descriptors, Floats, describe, portions, reduced
from tasks.core.data.audit.near_duplicates import alignment
from tasks.core.data.audit.near_duplicates.perturbations import Perturbations

SAMPLE = 1000  # images of which copies are made
MIN_COPIES = 500  # of each kind, nearly; smaller samples are repeated to reach it
EVEN, ODD = 32, 16  # directions kept of the even and the odd numbers
RIDGE = 1e-3  # regularisation: share of the copies' mean variance added to each direction
LEAST = 1e-12  # of the addition and of the radius: the descriptors of flat images do not differ at all
RADIUS_QUANTILE = 0.98  # share of the copies of each kind that must lie within the radius


class ImageRows(Protocol):
    """N images of one shape that need not all be in memory; an array qualifies."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """The images of these rows, uint8 (n, H, W, C)."""


@dataclass(frozen=True)
class LearnedDistance:
    """A distance between descriptors.

    Args:
        centre: float32 (E,); the mean of the even numbers.
        even, odd: Projections, float32 (E, e) and (O, o).
        radius: `RADIUS_QUANTILE` of the copies of each kind lie within this distance of their image.
        pixel_tolerance: One minus the correlation of aligned pixels is at most this in `RADIUS_QUANTILE` of
            the recompressed copies. It is smaller for flat drawings than for photos.
    """

    centre: Floats
    even: Floats
    odd: Floats
    radius: float
    pixel_tolerance: float

    @classmethod
    def learn(cls, images: ImageRows) -> "LearnedDistance":
        """Learn from a sample of images. The same images give the same distance.

        Args:
            images: About `SAMPLE` of the dataset's images. A smaller sample gets more copies of each image.
        """
        generator = np.random.default_rng(0)
        learning, held_out = (_repeated(np.arange(first, len(images), 2)) for first in range(2))
        originals, *copies = _described(images, learning, generator)[0].values()
        even = _directions(originals.even, [copy.even for copy in copies], EVEN)
        odd = _directions(originals.odd, [copy.odd for copy in copies], ODD)
        return cls(originals.even.mean(0), even, odd, 0.0, 0.0)._calibrated(
            *_described(images, held_out, generator)
        )

    def _calibrated(
        self, features: dict[str, Descriptors], correlation: NDArray[np.float64]
    ) -> "LearnedDistance":
        originals, *copies = features.values()
        radius = max(np.quantile(self.distance(originals, copy), RADIUS_QUANTILE) for copy in copies)
        return replace(
            self,
            radius=max(float(radius), LEAST),
            pixel_tolerance=float(np.quantile(1 - correlation, RADIUS_QUANTILE)),
        )

    def project(self, features: Descriptors) -> Descriptors:
        """Coordinates in which the distance is Euclidean."""
        even: Floats = features.even - self.centre
        return Descriptors(even @ self.even, features.odd @ self.odd)

    def distance(self, one: Descriptors, other: Descriptors) -> Floats:
        """Distances between images of the same row, float32 (N,). A mirrored image has distance 0."""
        a, b = self.project(one), self.project(other)
        even = np.square(a.even - b.even).sum(1)
        odd = np.minimum(np.square(a.odd - b.odd).sum(1), np.square(a.odd + b.odd).sum(1))
        return np.sqrt(even + odd)


def _repeated(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.tile(rows, max(1, MIN_COPIES // len(rows)))


def _described(
    images: ImageRows, rows: NDArray[np.int64], generator: np.random.Generator
) -> tuple[dict[str, Descriptors], NDArray[np.float64]]:
    """Descriptors of images (the first entry, "own") and of their perturbed copies.

    Only one portion of the images is in memory.

    Returns:
        Also the correlation of the pixels of each image and its recompressed copy, float64 (n,).
    """
    perturbations = Perturbations.drawn(len(rows), generator)
    described: dict[str, list[Descriptors]] = {}
    correlations = []
    for part in portions(len(rows), images[rows[:1]].nbytes):
        originals = images[rows[part]]
        versions = {"own": originals} | perturbations.of(originals, part)
        small = {name: reduced(version) for name, version in versions.items()}
        for name, version in small.items():
            described.setdefault(name, []).append(describe(version))
        correlations.append(alignment.correlation_in_place(small["own"], small["recompressed"]))
    return {name: Descriptors.join(parts) for name, parts in described.items()}, np.concatenate(correlations)


def _directions(originals: Floats, copies: list[Floats], count: int) -> Floats:
    """Directions of the largest variance between images, relative to that between an image and its copies.

    They are scaled such that the latter variance is 1 in each.
    """
    from scipy.linalg import eigh  # imported late: it takes half a second, which a reused stage does not need

    differences = np.concatenate([copy - originals for copy in copies]).astype(np.float64)
    within = differences.T @ differences / len(differences)
    within += max(RIDGE * np.trace(within) / len(within), LEAST) * np.eye(len(within))
    _, vectors = eigh(np.cov(originals.T, dtype=np.float64), within)
    return vectors[:, ::-1][:, :count].astype(np.float32)
