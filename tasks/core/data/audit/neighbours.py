"""All pairs of pictures that are close to each other, by brute force in blocks of matrix products."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.core.data.audit.descriptors import Features, Floats
from tasks.core.progress import Progress, ignore_progress

ROWS, COLUMNS = 256, 2048  # a block of 2 MB, which stays in the cache
MOST = 100_000  # pairs kept; of more, the closest


@dataclass(frozen=True)
class Close:
    """Pairs of pictures by their numbers, the closest first.

    Args:
        a, b: int64 (P,), a < b.
        distance: float32 (P,)
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    distance: Floats


def within(
    places: Features, radius: float, *, most: int = MOST, progress: Progress = ignore_progress
) -> Close:
    """The pairs whose distance is at most `radius`, a mirrored picture counting as the same.

    The threads are ours: BLAS' own wait for each other after every block. Time grows with the square of N:
    60,000 pictures (1.8 billion pairs) take some 6 CPU-seconds.

    Args:
        places: Coordinates, as `Likeness.place` gives them.
        radius: In their unit.
        most: Pairs to keep.
        progress: Told images compared with all that follow them.
    """
    found = _Found(radius, most)
    left, right = _with_norms(places)

    def compare(top: int) -> list[Close]:
        starts = range(top, len(left), COLUMNS)
        return [_close(left, right, places.odd, top, start, found.radius) for start in starts]

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        for number, row in enumerate(pool.map(compare, range(0, len(left), ROWS)), 1):
            found.add(row)
            progress(min(number * ROWS, len(left)), len(left), "comparing images with each other")
    return found.closest()


@dataclass
class _Found:
    """What was found so far; the radius shrinks when there is too much of it."""

    radius: float
    most: int
    parts: list[Close] = field(default_factory=list)

    def add(self, parts: list[Close]) -> None:
        self.parts += parts
        if sum(len(part.a) for part in self.parts) > 2 * self.most:
            kept = self.closest()
            self.parts, self.radius = [kept], float(kept.distance[-1])

    def closest(self) -> Close:
        a, b, distance = (
            np.concatenate([getattr(part, name) for part in self.parts] or [np.zeros(0, kind)])
            for name, kind in (("a", np.int64), ("b", np.int64), ("distance", np.float32))
        )
        order = np.lexsort((b, a, distance))[: self.most]
        return Close(a[order], b[order], distance[order])


def _close(left: Floats, right: Floats, odd: Floats, top: int, start: int, radius: float) -> Close:
    rows, columns = slice(top, top + ROWS), slice(start, start + COLUMNS)
    closeness = left[rows] @ right[columns].T
    turned = odd[rows] @ odd[columns].T
    closeness += np.abs(turned, out=turned)
    hits = np.flatnonzero(closeness >= -(radius**2) / 2)
    a, b = np.divmod(hits, closeness.shape[1])
    distance = np.sqrt(np.maximum(-2 * closeness.ravel()[hits], 0))
    ordered = a + top < b + start
    return Close(a[ordered] + top, b[ordered] + start, distance[ordered])


def _with_norms(places: Features) -> tuple[Floats, Floats]:
    """Columns that turn the product of the even parts, plus that of the odd ones, into a distance.

    -|a - b|^2 / 2 = a.b - |a|^2 / 2 - |b|^2 / 2
    """
    half = (np.square(places.even).sum(1) + np.square(places.odd).sum(1))[:, None] / 2
    ones = np.ones_like(half)
    return np.hstack([places.even, -half, ones]), np.hstack([places.even, ones, -half])
