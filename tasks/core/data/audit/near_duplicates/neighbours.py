"""Pairs of images that are close to each other, by blocks of matrix products.

Up to `FEWEST` images, all are compared with all; of more, those of neighbouring cells (see `cells`).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.core.data.audit.descriptors import Descriptors, Floats
from tasks.core.data.audit.near_duplicates.cells import FEWEST, Cells
from tasks.core.progress import Progress, ignore_progress

ROWS, COLUMNS = 256, 2048  # a block of 2 MB stays in the CPU cache
# Rows and columns of a block where only the nearest image counts. 2,000 of 60,000 images take 0.37
# CPU-seconds; 32 rows with all columns at once take 0.42.
NEAREST_BLOCK = 512
MAX_PAIRS = 100_000  # if there are more, the closest are kept


@dataclass(frozen=True)
class ClosePairs:
    """Pairs of images by their numbers, the closest first.

    Args:
        a, b: int64 (P,), a < b.
        distance: float32 (P,).
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    distance: Floats


def within(
    coordinates: Descriptors, radius: float, *, most: int = MAX_PAIRS, progress: Progress = ignore_progress
) -> ClosePairs:
    """The pairs whose distance is at most `radius`; a mirrored image counts as the same.

    Threads are started here instead of by BLAS, whose threads wait for each other after every block. 20,000
    images take some 0.6 CPU-seconds. Of more, nearly all of the pairs are found.

    Args:
        coordinates: As `LearnedDistance.project` gives them.
        radius: In the unit of the coordinates.
        most: Most pairs to keep.
        progress: Called with the number of images that were compared with all after them.
    """
    closest = _ClosestPairs(radius, most)
    left, right = _with_norms(coordinates)

    def compare(top: int) -> list[ClosePairs]:
        starts = range(top, len(left), COLUMNS)
        return [_close(left, right, coordinates.odd, top, start, closest.radius) for start in starts]

    def compare_cell(cell: int) -> list[ClosePairs]:
        return [
            _close_in_cell(left, right, coordinates.odd, visitors, cells, cell, closest.radius)
            for visitors in cells.visitors(cell)
        ]

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        if len(left) > FEWEST:
            cells = Cells.of(coordinates.even)
            jobs, each = pool.map(compare_cell, range(cells.count)), len(left) / cells.count
        else:
            jobs, each = pool.map(compare, range(0, len(left), ROWS)), float(ROWS)
        for number, parts in enumerate(jobs, 1):
            closest.add(parts)
            progress(min(round(number * each), len(left)), len(left), "comparing images with each other")
    return closest.closest()


def nearest(coordinates: Descriptors, images: NDArray[np.int64], beyond: float = -1.0) -> NDArray[np.int64]:
    """The nearest other image of each of some images that is farther than `beyond`: int64 (len(images),).

    If none is that far, it is any image.
    """
    left, right = _with_norms(coordinates)
    found = np.zeros(len(images), np.int64)
    for start in range(0, len(images), NEAREST_BLOCK):
        some = images[start : start + NEAREST_BLOCK]
        best = np.full(len(some), -np.inf, np.float32)
        for first in range(0, len(left), NEAREST_BLOCK):
            block = slice(first, first + NEAREST_BLOCK)
            closeness = left[some] @ right[block].T
            mirrored = coordinates.odd[some] @ coordinates.odd[block].T
            closeness += np.abs(mirrored, out=mirrored)
            here = np.flatnonzero((some >= first) & (some < first + NEAREST_BLOCK))
            closeness[here, some[here] - first] = -np.inf
            if beyond >= 0:
                np.copyto(closeness, -np.inf, where=closeness >= -(beyond**2) / 2)
            column = closeness.argmax(axis=1)
            value = closeness[np.arange(len(some)), column]
            closer = value > best
            best[closer] = value[closer]
            found[start + np.flatnonzero(closer)] = first + column[closer]
    return found


@dataclass
class _ClosestPairs:
    """The closest pairs so far. The radius shrinks when there are too many."""

    radius: float
    most: int
    parts: list[ClosePairs] = field(default_factory=list)

    def add(self, parts: list[ClosePairs]) -> None:
        self.parts += parts
        if sum(len(part.a) for part in self.parts) > 2 * self.most:
            found = self._joined()
            self.radius = float(np.partition(found.distance, self.most - 1)[self.most - 1])
            kept = found.distance < self.radius
            kept[np.flatnonzero(found.distance == self.radius)[: self.most - kept.sum()]] = True
            self.parts = [ClosePairs(found.a[kept], found.b[kept], found.distance[kept])]

    def closest(self) -> ClosePairs:
        found = self._joined()
        order = np.argsort(found.distance, kind="stable")[: self.most]  # of equal pairs the first found
        return ClosePairs(found.a[order], found.b[order], found.distance[order])

    def _joined(self) -> ClosePairs:
        """All pairs so far, in the order in which they were found."""
        a, b, distance = (
            np.concatenate([getattr(part, name) for part in self.parts] or [np.zeros(0, dtype)])
            for name, dtype in (("a", np.int64), ("b", np.int64), ("distance", np.float32))
        )
        return ClosePairs(a, b, distance)


def _close(left: Floats, right: Floats, odd: Floats, top: int, start: int, radius: float) -> ClosePairs:
    rows, columns = slice(top, top + ROWS), slice(start, start + COLUMNS)
    closeness = left[rows] @ right[columns].T
    mirrored = odd[rows] @ odd[columns].T
    closeness += np.abs(mirrored, out=mirrored)
    hits = np.flatnonzero(closeness >= -(radius**2) / 2)
    a, b = np.divmod(hits, closeness.shape[1])
    distance = np.sqrt(np.maximum(-2 * closeness.ravel()[hits], 0))
    is_ordered = a + top < b + start
    return ClosePairs(a[is_ordered] + top, b[is_ordered] + start, distance[is_ordered])


def _close_in_cell(
    left: Floats,
    right: Floats,
    odd: Floats,
    visitors: NDArray[np.int64],
    cells: Cells,
    cell: int,
    radius: float,
) -> ClosePairs:
    """Pairs of visitors and images at home in a cell, each once, though most visit each other."""
    residents = cells.residents(cell)
    closeness = left[visitors] @ right[residents].T
    mirrored = odd[visitors] @ odd[residents].T
    closeness += np.abs(mirrored, out=mirrored)
    hits = np.flatnonzero(closeness >= -(radius**2) / 2)  # places in two dimensions take twice as long
    rows, columns = np.divmod(hits, closeness.shape[1])
    a, b = visitors[rows], residents[columns]
    once = a < b
    later = np.flatnonzero(a > b)
    once[later] = ~(cells.probed[b[later]] == cells.home[a[later]][:, None]).any(axis=1)
    a, b = a[once], b[once]
    distance = np.sqrt(np.maximum(-2 * closeness.ravel()[hits[once]], 0))
    return ClosePairs(np.minimum(a, b), np.maximum(a, b), distance)


def _with_norms(coordinates: Descriptors) -> tuple[Floats, Floats]:
    """Coordinates with extra columns, so that their product, plus that of the odd parts, is -distance^2 / 2.

    -|a - b|^2 / 2 = a.b - |a|^2 / 2 - |b|^2 / 2
    """
    half_norms = (np.square(coordinates.even).sum(1) + np.square(coordinates.odd).sum(1))[:, None] / 2
    ones = np.ones_like(half_norms)
    return np.hstack([coordinates.even, -half_norms, ones]), np.hstack([coordinates.even, ones, -half_norms])
