"""How far apart two pictures are, learned from copies that are made for the purpose.

A sample of the dataset's own pictures is recompressed, shifted and brightened. The distance weighs the
directions in which different pictures differ more than a picture and its copy do (Fisher's linear
discriminant, 1936); the copies of another part of the sample say how far a copy may be from its picture.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit import alignment
from tasks.core.data.audit.descriptors import Features, Floats, describe, portions, reduced
from tasks.core.data.audit.perturbations import Perturbations

SAMPLE = 2000  # pictures of which copies are made
FEWEST = 500  # copies of a kind that are made of fewer pictures
EVEN, ODD = 32, 16  # directions kept
RIDGE = 1e-3  # share of the copies' mean variance added to each direction
RADIUS_QUANTILE = 0.98  # share of the copies of each kind that must lie within the radius


class Pictures(Protocol):
    """N pictures of one shape, which need not all be in memory: an array will do."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Some of them, uint8 (n, H, W, C)."""


@dataclass(frozen=True)
class LearnedDistance:
    """A distance between descriptors.

    Args:
        centre: The mean of the even numbers.
        even, odd: Projections, float32 (E, e) and (O, o).
        radius: Within this distance lie `RADIUS_QUANTILE` of the copies of each kind.
        blemish: What the correlation of aligned pixels lacks to 1, at most, in `RADIUS_QUANTILE` of the
            recompressed copies: less in flat drawings than in photos.
    """

    centre: Floats
    even: Floats
    odd: Floats
    radius: float
    pixel_tolerance: float

    @classmethod
    def learn(cls, images: Pictures) -> "LearnedDistance":
        """Learn from pictures; the same ones give the same distance.

        Args:
            images: Some `SAMPLE` of them. Of few there are more copies each.
        """
        generator = np.random.default_rng(0)
        taught, held_out = (_repeated(np.arange(first, len(images), 2)) for first in range(2))
        own, *copies = map(describe, _copied(images, taught, generator).values())
        even = _directions(own.even, [copy.even for copy in copies], EVEN)
        odd = _directions(own.odd, [copy.odd for copy in copies], ODD)
        return cls(own.even.mean(0), even, odd, 0.0, 0.0)._calibrated(_copied(images, held_out, generator))

    def _calibrated(self, pictures: dict[str, Floats]) -> "LearnedDistance":
        own, *copies = map(describe, pictures.values())
        radius = max(np.quantile(self.distance(own, copy), RADIUS_QUANTILE) for copy in copies)
        correlation = alignment.correlation(pictures["own"], pictures["recompressed"])
        return replace(
            self, radius=float(radius), pixel_tolerance=float(np.quantile(1 - correlation, RADIUS_QUANTILE))
        )

    def project(self, features: Features) -> Features:
        """Coordinates in which the distance is Euclidean."""
        even: Floats = features.even - self.centre
        return Features(even @ self.even, features.odd @ self.odd)

    def distance(self, one: Features, other: Features) -> Floats:
        """Distances between pictures of the same number; a mirrored one counts as the same."""
        a, b = self.project(one), self.project(other)
        even = np.square(a.even - b.even).sum(1)
        odd = np.minimum(np.square(a.odd - b.odd).sum(1), np.square(a.odd + b.odd).sum(1))
        return np.sqrt(even + odd)


def _repeated(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.tile(rows, max(1, FEWEST // len(rows)))


def _copied(images: Pictures, rows: NDArray[np.int64], generator: np.random.Generator) -> dict[str, Floats]:
    """Pictures ("own", the first) and copies of them, averaged down; a portion at a time in full."""
    changes = Perturbations.drawn(len(rows), generator)
    made: dict[str, list[Floats]] = {}
    for part in portions(len(rows), images[rows[:1]].nbytes):
        own = images[rows[part]]
        for kind, pictures in ({"own": own} | changes.of(own, part)).items():
            made.setdefault(kind, []).append(reduced(pictures))
    return {kind: np.concatenate(parts) for kind, parts in made.items()}


def _directions(own: Floats, copies: list[Floats], count: int) -> Floats:
    """Directions of the largest variance between pictures over that between a picture and its copies.

    Scaled so that the latter is 1 in each.
    """
    from scipy.linalg import eigh  # late: scipy takes half a second that a reused stage doesn't need

    apart = np.concatenate([copy - own for copy in copies]).astype(np.float64)
    within = apart.T @ apart / len(apart)
    within += RIDGE * np.trace(within) / len(within) * np.eye(len(within))
    _, vectors = eigh(np.cov(own.T, dtype=np.float64), within)
    return vectors[:, ::-1][:, :count].astype(np.float32)
