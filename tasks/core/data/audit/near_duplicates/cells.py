"""Which images are compared with which: cells of similar ones, so that the search grows with N^1.5, not N^2.

Centres are found by k-means; each image lives in the cell of its nearest centre and is compared with the
images of its `PROBES` nearest cells (an inverted file: H. Jegou, M. Douze, C. Schmid, "Product quantization
for nearest neighbor search", IEEE PAMI 33, 2011). Cells are made of the even coordinates, which mirroring
does not change. Of the pairs of CIFAR-10 within the radius, 99.8 % meet (docs/experiments.md).
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit.descriptors import Floats

FEWEST = 20_000  # images; fewer are all compared with each other, which takes a second
PROBES = 16
PER_CENTRE = 16  # images that a centre is learned from
ROUNDS = 4  # of k-means: with 10 and twice the images as many pairs meet, 99.8 % of those within the radius
VISITORS = 1024  # of a cell that are compared at a time
ROWS = 4096  # images whose distances to all centres are in memory at a time
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """Images by cell.

    Args:
        home: int64 (N,), the nearest centre of each image.
        probed: int32 (N, PROBES), its nearest centres.
        count: Number of cells.
    """

    home: Numbers
    probed: NDArray[np.int32]
    count: int

    @classmethod
    def of(cls, even: Floats) -> "Cells":
        """Find the cells of images by their even coordinates, float32 (N, e). The same give the same."""
        from scipy.cluster.vq import kmeans2  # imported here: a reused stage needs none of it

        count = round(2 * np.sqrt(len(even)))
        sample = even[np.random.default_rng(0).permutation(len(even))[: PER_CENTRE * count]]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "One of the clusters is empty")  # its centre stays as it is
            centres, _ = kmeans2(sample, sample[:count], iter=ROUNDS, minit="matrix")
        half_norms = np.square(centres).sum(axis=1) / 2
        probed = np.empty((len(even), PROBES), np.int32)
        home = np.empty(len(even), np.int64)
        for start in range(0, len(even), ROWS):
            block = slice(start, start + ROWS)
            distances = half_norms - even[block] @ centres.T
            probed[block] = np.argpartition(distances, PROBES, axis=1)[:, :PROBES]
            home[block] = distances.argmin(axis=1)
        return cls(home, probed, count)

    @cached_property
    def _residents(self) -> list[Numbers]:
        return _by_value(self.home, self.count)

    @cached_property
    def _visitors(self) -> list[Numbers]:
        return _by_value(self.probed.ravel(), self.count)

    def residents(self, cell: int) -> Numbers:
        """The images at home in a cell, ascending."""
        return self._residents[cell]

    def visitors(self, cell: int) -> Iterator[Numbers]:
        """The images that are compared with these, `VISITORS` at a time."""
        images = self._visitors[cell] // PROBES
        return (images[start : start + VISITORS] for start in range(0, len(images), VISITORS))


def _by_value(values: NDArray[np.integer], count: int) -> list[Numbers]:
    """The places of 0, of 1, ... among values 0..count-1, ascending."""
    if count <= np.iinfo(np.uint16).max:
        values = values.astype(np.uint16)  # which NumPy sorts by radix, in a tenth of the time
    order = np.argsort(values, kind="stable")
    return np.split(order, np.searchsorted(values[order], np.arange(1, count)))
