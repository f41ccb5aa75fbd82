"""Writes the rows of a .npy file in any order, with plain writes and little memory, and sums up its channels.

Consecutive rows are written together: a write of 3 kB takes 13 us, most of it the system call.
"""

import io
import os
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROWS = 1024  # images copied at a time
BLOCK = 1 << 23  # bytes per read when rows are moved
DIRECT = 1 << 16  # bytes from which a block is written as it is, uncopied
MAX_PENDING = 1 << 20  # bytes of rows that wait to be written
PIXELS = 1 << 18  # pixels in memory at a time
MODES = {1: "L", 3: "RGB"}  # Pillow's mode by number of channels


class RowFile:
    """A `.npy` file of uint8 rows of one shape.

    It is not memory-mapped, since every written page would count as the process's memory.

    Args:
        path: The file, which must not exist.
        count: Number of rows.
        shape: Shape of a row.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        self.path, self.count, self.shape = path, count, shape
        self.bytes = int(np.prod(shape))
        self.start = len(_header(count, shape))
        self._pending: list[bytes] = []
        self._first = self._next = 0  # the first pending row, and the one after the last
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        os.ftruncate(self._file, self.start + count * self.bytes)

    def write(self, row: int, image: NDArray[np.uint8]) -> None:
        """Write one image, or several consecutive ones (N, ...), starting at `row`."""
        if image.shape[-len(self.shape) :] != self.shape or image.dtype != np.uint8:
            raise ValueError(f"{image.dtype} {image.shape} in rows of uint8 {self.shape}")
        if image.nbytes >= DIRECT:
            self._flush()
            os.pwrite(self._file, np.ascontiguousarray(image).data, self.start + row * self.bytes)
            self._first = self._next = row + image.size // self.bytes
            return
        if row != self._next or (self._next - self._first) * self.bytes >= MAX_PENDING:
            self._flush()
            self._first = self._next = row
        self._pending.append(image.tobytes())
        self._next += image.size // self.bytes

    def _flush(self) -> None:
        os.pwrite(self._file, b"".join(self._pending), self.start + self._first * self.bytes)
        self._pending.clear()

    def close(self, without: Collection[int] = ()) -> None:
        """Remove the rows `without`, move up the rows after them, and finish the file."""
        self._flush()
        kept_rows = np.setdiff1d(np.arange(self.count), np.fromiter(without, np.int64, len(without)))
        if len(kept_rows) < self.count:
            self._compact(kept_rows)
        os.pwrite(self._file, _header(len(kept_rows), self.shape), 0)
        os.ftruncate(self._file, self.start + len(kept_rows) * self.bytes)
        os.close(self._file)

    def _compact(self, kept_rows: NDArray[np.int64]) -> None:
        step = max(1, BLOCK // self.bytes)
        for target in range(0, len(kept_rows), step):
            block = kept_rows[target : target + step]
            first, last = int(block[0]), int(block[-1])
            data = os.pread(self._file, (last - first + 1) * self.bytes, self.start + first * self.bytes)
            rows = np.frombuffer(data, np.uint8).reshape(-1, self.bytes)[block - first]
            os.pwrite(self._file, rows.tobytes(), self.start + target * self.bytes)


def write_rows(path: Path, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
    """Write some rows of an array into a new file, in blocks, so that little memory is needed.

    Args:
        path: The file, which must not exist.
        images: uint8 (N, H, W, C), memory-mapped or not.
        rows: int64 (n,), 0..N-1.
    """
    file = RowFile(path, len(rows), images.shape[1:])
    for start in range(0, len(rows), ROWS):
        file.write(start, np.ascontiguousarray(images[rows[start : start + ROWS]]))
    file.close()


def _header(count: int, shape: tuple[int, ...]) -> bytes:
    """The header of the file. NumPy pads it so that its length does not depend on the count."""
    buffer = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def channel_stats(path: Path) -> tuple[list[float], list[float]]:
    """Mean and population standard deviation of each channel of a `.npy` of uint8 (N, H, W, C).

    They are computed from sums of integers, so that the order of the images has no effect.

    Returns:
        mean, std: One number per channel on the scale 0..255, rounded to 6 decimals.
    """
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        shape, _, _ = np.lib.format.read_array_header_1_0(file)
        mode, counts = MODES[shape[-1]], np.zeros((shape[-1], 256), np.int64)
        while block := file.read(PIXELS * shape[-1]):
            image = Image.frombuffer(mode, (len(block) // shape[-1], 1), block, "raw", mode, 0, 1)
            counts += np.array(image.histogram()).reshape(counts.shape)  # takes a third of np.bincount's time
    values = np.arange(256)
    mean = counts @ values / counts.sum(axis=1)
    mean_square = counts @ values**2 / counts.sum(axis=1)
    std = np.sqrt(np.maximum(mean_square - mean**2, 0))
    return [round(float(m), 6) for m in mean], [round(float(s), 6) for s in std]
