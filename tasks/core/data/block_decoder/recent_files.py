"""Files that were just hashed, until they are decoded: contents of small ones, so that each is read once.

They are kept for the first reader that asks, and used if their SHA-256 is the one that is listed and the file
has the same size and times as when it was read. So nothing depends on whether they are kept. A large file is
read again, but not hashed again: 1.2 of the 23 ms of a photo.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.block_decoder.library import Digits
from tasks.core.data.block_decoder.text_hashes import digits_of

BUDGET = 1 << 26  # bytes, of a process
LARGE = 1 << 16  # bytes from which hashing takes longer than a look at size and times
Numbers = NDArray[np.int64]


class RecentFiles:
    """Contents of files of one folder.

    Args:
        root: The folder.
        paths: Strings (n,), relative to it.
        stats: int64 (n, 3); bytes, modification and change time in ns of each.
        is_hashed: bool (n,); whether each was just hashed, and not changed so lately that a further change
            could leave its times as they are.
    """

    def __init__(
        self, root: Path, paths: pa.Array, stats: Numbers, is_hashed: NDArray[np.bool_] | None = None
    ) -> None:
        self.root, self.paths, self.stats = root, paths, stats
        self.is_hashed = np.zeros(len(paths), bool) if is_hashed is None else is_hashed
        self.sha256: Digits | None = None
        self.address = np.zeros(len(paths), np.int64)  # of each content; 0 if it is not kept
        self._free, self._buffers = BUDGET, list[NDArray[np.uint8]]()

    def room(self, numbers: Numbers) -> NDArray[np.uint8] | None:
        """Where contents are to be put, one after the other, with a byte more; None if there is no room."""
        need = int(self.stats[numbers, 0].sum()) + 1
        if need > self._free:
            return None
        self._free -= need
        return np.empty(need, np.uint8)

    def keep(self, numbers: Numbers, buffer: NDArray[np.uint8] | None, is_read: NDArray[np.bool_]) -> None:
        """Remember that the contents of those files that were read are in a buffer from `room`."""
        if buffer is not None:
            self._buffers.append(buffer)
            sizes = self.stats[numbers, 0]
            self.address[numbers] = np.where(is_read, buffer.ctypes.data + np.cumsum(sizes) - sizes, 0)


class KeptContents:
    """What is known of the files of a listing, by row.

    Attributes:
        address: int64 (n,), of each content; 0 if it is not kept.
        stamps: int64 (n, 2), modification and change time in ns of the file when it was read.
    """

    def __init__(self, recent: RecentFiles, paths: pa.ChunkedArray, sha256: Digits) -> None:
        self._recent = recent  # has the memory
        found = pc.fill_null(pc.index_in(paths, recent.paths), -1).to_numpy().astype(np.int64)
        assert recent.sha256 is not None  # noqa: S101 - set before it is offered
        is_kept = (found >= 0) & (recent.sha256[found] == sha256)
        self._is_hashed, self._sizes = is_kept & recent.is_hashed[found], recent.stats[found, 0]
        self.address = np.where(is_kept, recent.address[found], 0)
        self.stamps = np.ascontiguousarray(recent.stats[found, 1:])

    def is_unchanged(self, row: int, path: str, size: int) -> bool:
        """Whether a large file was just hashed, and still has the same size and times."""
        if size < LARGE or not self._is_hashed[row]:
            return False
        try:
            status = os.stat(path)  # noqa: PTH116 - half the time of Path.stat
        except OSError:
            return False
        stamps = (int(self._sizes[row]), *self.stamps[row].tolist())
        return (status.st_size, status.st_mtime_ns, status.st_ctime_ns) == stamps


_offered: list[RecentFiles] = []


def offer(recent: RecentFiles | None) -> None:
    """Keep contents until `take`; in place of those before."""
    _offered[:] = [recent] if recent is not None else []


def take(root: Path, paths: pa.ChunkedArray, sha256: pa.ChunkedArray) -> KeptContents | None:
    """The contents of files of a listing that are kept, if any. They are freed with what is returned."""
    recent = _offered.pop() if _offered and _offered[0].root == root else None
    return KeptContents(recent, paths, digits_of(sha256)) if recent else None
