"""A .npy file written row by row in any order, with plain writes: the memory stays small.

Rows that come one after the other are written together: a write of 3 kB takes 13 us, most of it the call.
"""

import io
import os
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 23  # bytes; one read when rows are moved
HELD = 1 << 20  # bytes of rows held back, at most


class RowFile:
    """A `.npy` of uint8 rows of one shape.

    Memory-mapped writing would count every written page to the process's memory.

    Args:
        path: The file; new.
        count: Number of rows.
        shape: Shape of a row.
    """

    def __init__(self, path: Path, count: int, shape: tuple[int, ...]) -> None:
        self.path, self.count, self.shape = path, count, shape
        self.bytes = int(np.prod(shape))
        self.start = len(_header(count, shape))
        self._held: list[bytes] = []
        self._first = self._next = 0  # of the rows held back, and the one after them
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        os.ftruncate(self._file, self.start + count * self.bytes)

    def write(self, row: int, image: NDArray[np.uint8]) -> None:
        """Put one image, or several (rows first) from `row` on."""
        if image.shape[-len(self.shape) :] != self.shape or image.dtype != np.uint8:
            raise ValueError(f"{image.dtype} {image.shape} in rows of uint8 {self.shape}")
        if row != self._next or (self._next - self._first) * self.bytes >= HELD:
            self._flush()
            self._first = self._next = row
        self._held.append(image.tobytes())
        self._next += image.size // self.bytes

    def _flush(self) -> None:
        os.pwrite(self._file, b"".join(self._held), self.start + self._first * self.bytes)
        self._held.clear()

    def close(self, without: Collection[int] = ()) -> None:
        """Take out the rows `without`, moving up what follows, and finish the file."""
        self._flush()
        kept = np.setdiff1d(np.arange(self.count), np.fromiter(without, np.int64, len(without)))
        if len(kept) < self.count:
            self._compact(kept)
        os.pwrite(self._file, _header(len(kept), self.shape), 0)
        os.ftruncate(self._file, self.start + len(kept) * self.bytes)
        os.close(self._file)

    def _compact(self, kept: NDArray[np.int64]) -> None:
        step = max(1, BLOCK // self.bytes)
        for target in range(0, len(kept), step):
            block = kept[target : target + step]
            first, last = int(block[0]), int(block[-1])
            data = os.pread(self._file, (last - first + 1) * self.bytes, self.start + first * self.bytes)
            rows = np.frombuffer(data, np.uint8).reshape(-1, self.bytes)[block - first]
            os.pwrite(self._file, rows.tobytes(), self.start + target * self.bytes)


def _header(count: int, shape: tuple[int, ...]) -> bytes:
    """NumPy pads it so that its length doesn't depend on the count."""
    buffer = io.BytesIO()
    description = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()
