"""Writes the images of a tensor cache: each is decoded, or copied from an earlier cache."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.readers.base import DecodedBlock, DecodedImage, ImageIndex, Reader
from tasks.core.data.tensors import npy_writer
from tasks.core.data.tensors.cache import SPLITS
from tasks.core.data.tensors.npy_writer import RowFile
from tasks.core.data.tensors.reuse import ReusableCache
from tasks.core.data.tensors.splits import Splits
from tasks.core.data.tensors.target_shape import ShapeMismatch, TargetShape
from tasks.core.progress import Progress, ProgressMeter

log = logging.getLogger("plumbline.data")


@dataclass
class WrittenImages:
    """The result of writing the images.

    Args:
        target_shape: The shape of all of them.
        originals: int32 (images, 3): original height, width and channels of each; 0 where decoding failed.
        failed: Reasons by image number.
        decoded: How many were decoded.
    """

    target_shape: TargetShape
    originals: NDArray[np.int32]
    failed: dict[int, str] = field(default_factory=dict)
    decoded: int = 0


def write(
    directory: Path,
    reader: Reader,
    index: ImageIndex,
    splits: Splits,
    target_shape: TargetShape,
    reusable: ReusableCache,
    progress: Progress,
) -> WrittenImages:
    """Write `{train,val,test}.images.npy`.

    Writing restarts when an image does not fit the inferred shape: at most twice, and for grey values of
    more bits at most five times.

    Args:
        directory: Where the files are written.
        reader: The source.
        index: All its images.
        splits: Which image belongs to which row.
        target_shape: The shape of all images.
        reusable: An earlier cache. Its rows are copied if they have the target shape and its fit.
        progress: Called with images done.
    """
    while True:
        try:
            return _Pass(directory, reader, index, splits, target_shape, reusable).run(progress)
        except ShapeMismatch as mismatch:
            if mismatch.target_shape.shape != target_shape.shape:
                log.info(
                    "images differ in size or channels; all are converted to %dx%dx%d",
                    *mismatch.target_shape.shape,
                )
            target_shape = mismatch.target_shape


class _Pass:
    """One pass over all images with one target shape."""

    def __init__(
        self,
        directory: Path,
        reader: Reader,
        index: ImageIndex,
        splits: Splits,
        target_shape: TargetShape,
        reusable: ReusableCache,
    ) -> None:
        self.reader, self.index, self.splits = reader, index, splits
        self.target_shape, self.reusable = target_shape, reusable
        self.split, self.row = splits.split_and_row(len(index))
        self.files = {split: self._file(directory, split, len(splits.numbers[split])) for split in SPLITS}
        self.written = WrittenImages(target_shape, np.zeros((len(index), 3), np.int32))
        self._gathered: list[DecodedImage] = []
        self._bytes = int(np.prod(target_shape.shape))  # of an image

    def run(self, progress: Progress) -> WrittenImages:
        meter = ProgressMeter(sum(map(len, self.splits.numbers.values())), "img", progress)
        try:
            self._decode(self._copy(meter), meter)
        finally:
            self._close()
        return self.written

    def _copy(self, meter: ProgressMeter) -> NDArray[np.int64]:
        """Copy the images of an earlier cache. Returns the numbers of the others, ascending."""
        cached_rows = np.full(len(self.index), -1)
        reused, wanted = self.reusable, self.target_shape
        if (reused.shape, reused.fit) == (wanted.shape, wanted.fit) and not (reused.wide or wanted.grey_bits):
            cached_rows = self.reusable.lookup(self.index.image_id)
        with self.reusable.opened() as images:
            for split, numbers in self.splits.numbers.items():
                cached = cached_rows[numbers]
                is_cached = cached >= 0
                self._note_copied(numbers[is_cached], cached[is_cached])
                for row, cached_row, count in _runs(cached, self.reusable):
                    start = str(self.reusable.split[cached_row]), int(self.reusable.row[cached_row])
                    self._copy_run(images.read(*start, count), split, row)
                    meter.step(count)
        return np.flatnonzero((cached_rows < 0) & (self.row >= 0))

    def _copy_run(self, blocks: Iterator[NDArray[np.uint8]], split: str, row: int) -> None:
        for block in blocks:
            self.files[split].write(row, block)
            row += len(block)

    def _decode(self, numbers: NDArray[np.int64], meter: ProgressMeter) -> None:
        self.written.decoded = len(numbers)
        numbers = self._put_probes(numbers, meter)
        if self.reader.random_access:  # consecutive rows can then be written together
            numbers = numbers[np.lexsort((self.row[numbers], self.split[numbers]))]
        for image in self.reader.blocks(numbers.tolist(), self.target_shape.target):
            if isinstance(image, DecodedImage):
                self._gather(image)
            elif isinstance(image, DecodedBlock):
                self._put_gathered()
                self._put_block(image)
            else:
                self.target_shape.check_grey_bits(image.grey_bits)
                self.written.failed[image.row] = image.reason
            meter.step(len(image.rows) if isinstance(image, DecodedBlock) else 1)
        self._put_gathered()

    def _put_probes(self, numbers: NDArray[np.int64], meter: ProgressMeter) -> NDArray[np.int64]:
        """Write the images that were decoded for the shape. Returns the numbers of the others."""
        probes = [image for image in self.target_shape.probes if self.row[image.row] >= 0]
        for image in probes:
            self._gather(image)
            meter.step(1)
        return numbers[~np.isin(numbers, [image.row for image in probes])] if probes else numbers

    def _gather(self, image: DecodedImage) -> None:
        """Images are checked and written in blocks: one by one takes 3 us more for each."""
        self._gathered.append(image)
        if len(self._gathered) * self._bytes >= npy_writer.MAX_PENDING:
            self._put_gathered()

    def _put_gathered(self) -> None:
        if self._gathered:
            rows = np.array([image.row for image in self._gathered])
            originals = np.array([image.original for image in self._gathered], np.int32)
            pixels = np.stack([image.image for image in self._gathered])
            self._gathered.clear()
            self._put_block(DecodedBlock(rows, pixels, originals))

    def _put_block(self, block: DecodedBlock) -> None:
        first = block.originals[:1]  # sorting takes 20 times as long as finding that all are alike
        kinds = first if (block.originals == first).all() else np.unique(block.originals, axis=0)
        for original in kinds.tolist():
            self.target_shape.check(tuple(original))
        self.written.originals[block.rows] = block.originals
        split, row = self.split[block.rows], self.row[block.rows]
        bounds = np.flatnonzero((np.diff(row) != 1) | (np.diff(split) != 0)) + 1
        for start, end in zip([0, *bounds], [*bounds, len(row)], strict=True):
            self.files[SPLITS[split[start]]].write(int(row[start]), block.images[start:end])

    def _note_copied(self, numbers: NDArray[np.int64], cached_rows: NDArray[np.int64]) -> None:
        originals = self.reusable.originals[cached_rows]
        for height, width, channels in np.unique(originals, axis=0).tolist():
            self.target_shape.check((height, width, channels))
        self.written.originals[numbers] = originals

    def _close(self) -> None:
        failed = np.fromiter(self.written.failed, np.int64, len(self.written.failed))
        for number, split in enumerate(SPLITS):
            self.files[split].close(without=self.row[failed[self.split[failed] == number]].tolist())

    def _file(self, directory: Path, split: str, count: int) -> RowFile:
        path = directory / f"{split}.images.npy"
        path.unlink(missing_ok=True)
        return RowFile(path, count, self.target_shape.shape)


def _runs(cached_rows: NDArray[np.int64], reusable: ReusableCache) -> Iterator[tuple[int, int, int]]:
    """Runs of rows that are consecutive in an earlier cache too: first row, its row there, and their number.

    The order depends on the content only, so that a few changed images leave long runs.

    Args:
        cached_rows: int64 (n,); for each row of a split its row in the earlier cache, or -1.
        reusable: The earlier cache.
    """
    index = np.flatnonzero(cached_rows >= 0)
    split, row = reusable.split[cached_rows[index]], reusable.row[cached_rows[index]]
    is_consecutive = (np.diff(index) == 1) & (np.diff(row) == 1) & (split[1:] == split[:-1])
    for run in np.split(index, np.flatnonzero(~is_consecutive) + 1):
        if len(run):
            yield int(run[0]), int(cached_rows[run[0]]), len(run)
