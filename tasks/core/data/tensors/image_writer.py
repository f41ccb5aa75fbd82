"""The images of a tensor cache: each decoded, or copied from an earlier cache, into its row."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.readers.base import DecodeFailure, ImageIndex, Reader
from tasks.core.data.tensors.cache import SPLITS
from tasks.core.data.tensors.npy_writer import RowFile
from tasks.core.data.tensors.reuse import ReusableCache
from tasks.core.data.tensors.splits import Splits
from tasks.core.data.tensors.target_shape import ShapeMismatch, TargetShape
from tasks.core.progress import Progress, ProgressMeter

log = logging.getLogger("plumbline.data")


@dataclass
class Pixels:
    """What became of the images.

    Args:
        plan: What all of them became.
        originals: int32 (images, 3): height, width and channels of each before; 0 where it failed.
        failed: Reasons by number.
        decoded: How many were decoded.
    """

    plan: TargetShape
    originals: NDArray[np.int32]
    failed: dict[int, str] = field(default_factory=dict)
    decoded: int = 0


def write(
    directory: Path,
    reader: Reader,
    rows: ImageIndex,
    layout: Splits,
    plan: TargetShape,
    earlier: ReusableCache,
    progress: Progress,
) -> Pixels:
    """Write `{train,val,test}.images.npy`; begin again when an image changes the plan (at most twice).

    Args:
        directory: Where.
        reader: The source.
        rows: All its images.
        layout: Which of them go where.
        plan: What they are to become.
        earlier: Rows that can be copied, if they have the plan's shape.
        progress: Told images done.
    """
    while True:
        try:
            return _Writing(directory, reader, rows, layout, plan, earlier).run(progress)
        except ShapeMismatch as other:
            log.info("images differ: all become %dx%dx%d", *other.plan.shape)
            plan = other.plan


class _Writing:
    """One pass over all images on one plan."""

    def __init__(
        self,
        directory: Path,
        reader: Reader,
        rows: ImageIndex,
        layout: Splits,
        plan: TargetShape,
        earlier: ReusableCache,
    ) -> None:
        self.reader, self.rows, self.layout = reader, rows, layout
        self.plan, self.earlier = plan, earlier
        self.split, self.row = layout.split_and_row(len(rows))
        self.files = {split: self._file(directory, split, len(layout.splits[split])) for split in SPLITS}
        self.pixels = Pixels(plan, np.zeros((len(rows), 3), np.int32))

    def run(self, progress: Progress) -> Pixels:
        pace = ProgressMeter(sum(map(len, self.layout.splits.values())), "img", progress)
        try:
            self._decode(self._copy(pace), pace)
        finally:
            self._close()
        return self.pixels

    def _copy(self, pace: ProgressMeter) -> NDArray[np.int64]:
        """Copy what an earlier cache has; the numbers that are left to decode, ascending."""
        known = np.full(len(self.rows), -1)
        if self.earlier.shape == self.plan.shape:
            known = self.earlier.lookup(self.rows.image_id)
        with self.earlier.opened() as images:
            for split, numbers in self.layout.splits.items():
                places = known[numbers]
                here = places >= 0
                self._note_copied(numbers[here], places[here])
                for row, place, count in _runs(places, self.earlier):
                    start = str(self.earlier.split[place]), int(self.earlier.row[place])
                    self._copy_run(images.read(*start, count), split, row)
                    pace.step(count)
        return np.flatnonzero((known < 0) & (self.row >= 0))

    def _copy_run(self, blocks: Iterator[NDArray[np.uint8]], split: str, row: int) -> None:
        for block in blocks:
            self.files[split].write(row, block)
            row += len(block)

    def _decode(self, numbers: NDArray[np.int64], pace: ProgressMeter) -> None:
        self.pixels.decoded = len(numbers)
        if self.reader.random_access:  # in the order of their rows, so that they are written together
            numbers = numbers[np.lexsort((self.row[numbers], self.split[numbers]))]
        for image in self.reader.images(numbers.tolist(), self.plan.target):
            if isinstance(image, DecodeFailure):
                self.pixels.failed[image.row] = image.reason
            else:
                self._put(image.row, image.image, image.original)
            pace.step()

    def _put(self, number: int, image: NDArray[np.uint8], original: tuple[int, int, int]) -> None:
        self.plan.check(original)
        self.pixels.originals[number] = original
        self.files[SPLITS[self.split[number]]].write(int(self.row[number]), image)

    def _note_copied(self, numbers: NDArray[np.int64], places: NDArray[np.int64]) -> None:
        originals = self.earlier.originals[places]
        for height, width, channels in np.unique(originals, axis=0).tolist():
            self.plan.check((height, width, channels))
        self.pixels.originals[numbers] = originals

    def _close(self) -> None:
        gone = np.fromiter(self.pixels.failed, np.int64, len(self.pixels.failed))
        for number, split in enumerate(SPLITS):
            self.files[split].close(without=self.row[gone[self.split[gone] == number]].tolist())

    def _file(self, directory: Path, split: str, count: int) -> RowFile:
        path = directory / f"{split}.images.npy"
        path.unlink(missing_ok=True)
        return RowFile(path, count, self.plan.shape)


def _runs(places: NDArray[np.int64], earlier: ReusableCache) -> Iterator[tuple[int, int, int]]:
    """Rows that follow each other in an earlier cache as well: first row, its place there, and how many.

    The order follows from the content, so a few changed images leave long runs.

    Args:
        places: Of the rows of a split; -1 for one that isn't there.
    """
    rows = np.flatnonzero(places >= 0)
    split, row = earlier.split[places[rows]], earlier.row[places[rows]]
    follows = (np.diff(rows) == 1) & (np.diff(row) == 1) & (split[1:] == split[:-1])
    for run in np.split(rows, np.flatnonzero(~follows) + 1):
        if len(run):
            yield int(run[0]), int(places[run[0]]), len(run)
