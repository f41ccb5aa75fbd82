"""The images of a tensor cache: each decoded, or copied from an earlier cache, into its row."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.cache import SPLITS
from tasks.core.data.earlier import Earlier, Place
from tasks.core.data.layout import Layout
from tasks.core.data.pace import Pace
from tasks.core.data.plan import Differs, Plan
from tasks.core.data.reader import Failed, Reader, Row
from tasks.core.data.rows import Rows
from tasks.core.progress import Progress

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

    plan: Plan
    originals: NDArray[np.int32]
    failed: dict[int, str] = field(default_factory=dict)
    decoded: int = 0


def write(
    directory: Path,
    reader: Reader,
    rows: list[Row],
    layout: Layout,
    plan: Plan,
    earlier: Earlier,
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
        except Differs as other:
            log.info("images differ: all become %dx%dx%d", *other.plan.shape)
            plan = other.plan


class _Writing:
    """One pass over all images on one plan."""

    def __init__(
        self,
        directory: Path,
        reader: Reader,
        rows: list[Row],
        layout: Layout,
        plan: Plan,
        earlier: Earlier,
    ) -> None:
        self.reader, self.rows, self.layout = reader, rows, layout
        self.plan, self.earlier = plan, earlier
        self.places = layout.places()
        self.files = {split: self._file(directory, split, len(layout.splits[split])) for split in SPLITS}
        self.pixels = Pixels(plan, np.zeros((len(rows), 3), np.int32))

    def run(self, progress: Progress) -> Pixels:
        pace = Pace(len(self.places), "img", progress)
        try:
            self._decode(self._copy(pace), pace)
        finally:
            self._close()
        return self.pixels

    def _copy(self, pace: Pace) -> list[int]:
        """Copy what an earlier cache has; the numbers that are left to decode, ascending."""
        known = self.earlier.places if self.earlier.shape == self.plan.shape else {}
        left: list[int] = []
        with self.earlier.opened() as images:
            for split, numbers in self.layout.splits.items():
                places = [known.get(self.rows[number].identity) for number in numbers]
                left += [number for number, place in zip(numbers, places, strict=True) if place is None]
                for number, place in zip(numbers, places, strict=True):
                    if place:
                        self._note(number, place.original)
                for row, (start, count) in _runs(places).items():
                    self._copy_run(images.read(*start, count), split, row)
                    pace.step(count)
        return sorted(left)

    def _copy_run(self, blocks: Iterator[NDArray[np.uint8]], split: str, row: int) -> None:
        for block in blocks:
            self.files[split].write(row, block)
            row += len(block)

    def _decode(self, numbers: list[int], pace: Pace) -> None:
        self.pixels.decoded = len(numbers)
        if self.reader.random_access:
            numbers = sorted(numbers, key=self.places.__getitem__)  # so that `Rows` can write them together
        for image in self.reader.images(numbers, self.plan.target):
            if isinstance(image, Failed):
                self.pixels.failed[image.row] = image.reason
            else:
                self._put(image.row, image.image, image.original)
            pace.step()

    def _put(self, number: int, image: NDArray[np.uint8], original: tuple[int, int, int]) -> None:
        self._note(number, original)
        split, row = self.places[number]
        self.files[split].write(row, image)

    def _note(self, number: int, original: tuple[int, int, int]) -> None:
        self.plan.check(original)
        self.pixels.originals[number] = original

    def _close(self) -> None:
        for split, file in self.files.items():
            gone = [self.places[number] for number in self.pixels.failed]
            file.close(without=[row for other, row in gone if other == split])

    def _file(self, directory: Path, split: str, count: int) -> Rows:
        path = directory / f"{split}.images.npy"
        path.unlink(missing_ok=True)
        return Rows(path, count, self.plan.shape)


def _runs(places: list[Place | None]) -> dict[int, tuple[tuple[str, int], int]]:
    """Rows that follow each other in an earlier cache as well: its split and row, and how many, by first row.

    The order follows from the content, so a few changed images leave long runs.
    """
    runs: dict[int, tuple[tuple[str, int], int]] = {}
    first, follows = 0, None
    for row, place in enumerate(places):
        at = (place.split, place.row) if place else None
        if at and at == follows:
            start, count = runs[first]
            runs[first] = (start, count + 1)
        elif at:
            first, runs[row] = row, (at, 1)
        follows = (at[0], at[1] + 1) if at else None
    return runs
