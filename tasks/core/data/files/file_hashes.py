"""SHA-256 of files, remembered by size and times, so that looking again at a folder is cheap.

A remembered hash counts while size, modification time and change time are the same. A file that was
modified within `RACY` seconds of being hashed isn't remembered: it could change again without its time
showing it (git's "racily clean" entries, Documentation/technical/racy-git.adoc).
"""

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data import threads
from tasks.core.data.files import file_stats
from tasks.core.errors import DataError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.stages import DOWNLOAD
from tasks.core.storage import atomic, hashing, manifests
from tasks.core.workspace import Workspace

RACY = 2.0  # seconds; the coarsest time stamps in use are FAT's
BATCH = 256  # files between two reports, and handed to a thread at a time
STAMP = ("bytes", "mtime_ns", "ctime_ns")
SCHEMA = pa.schema([*(file_stats.SCHEMA.field(name) for name in ("path", *STAMP)), ("sha256", pa.string())])
DIGITS = "S64"  # of a SHA-256 in hexadecimal; an empty one is not known


class Hashes:
    """The hashes of the files below one folder.

    Args:
        root: The folder; or a single file, whose path below itself is "".
        workspace: Where they are remembered.
        forget: Read every file again, whatever is remembered.
    """

    def __init__(self, root: Path, workspace: Workspace, *, ignore_cache: bool = False) -> None:
        self.root = root
        self.file = DOWNLOAD.directory(".hashes", workspace) / f"{hashing.digest_of(str(root))}.parquet"
        self.remembered = SCHEMA.empty_table() if ignore_cache else self._load()
        self.read = 0

    def compute(self, files: pa.Table, progress: Progress = ignore_progress) -> pa.Array:
        """SHA-256 of each file of a `file_stats.stats_table`; reads only those that look new."""
        self._trusted = (time.time() - RACY) * 1e9
        self._files, hashes = files, self._known(files)
        self._new = unknown = np.flatnonzero(hashes == b"")
        size = files["bytes"].to_numpy()[unknown].sum() / max(1, len(unknown))
        batches = [unknown[start : start + BATCH] for start in range(0, len(unknown), BATCH)]
        for batch, found in zip(batches, threads.map_threaded(self._read, batches, size=size), strict=True):
            hashes[batch] = found
            self.read += len(batch)
            progress(self.read, len(unknown), "hashing")
        self._found = _text(hashes)
        return self._found

    def _known(self, files: pa.Table) -> NDArray[np.bytes_]:
        """What is remembered of each file; empty where nothing is, or of another state of it."""
        hashes = np.zeros(files.num_rows, DIGITS)
        places = pc.fill_null(pc.index_in(files["path"], self.remembered["path"].combine_chunks()), -1)
        here = np.flatnonzero(places.to_numpy() >= 0)
        there = places.to_numpy()[here]
        same = np.ones(len(here), bool)
        for name in STAMP:
            same &= files[name].to_numpy()[here] == self.remembered[name].to_numpy()[there]
        hashes[here[same]] = _digits(self.remembered["sha256"])[there[same]]
        return hashes

    def _read(self, batch: NDArray[np.int64]) -> list[str]:
        root, some = str(self.root), self._files.take(batch)
        return [
            _sha256(f"{root}/{path}" if path else root, size)
            for path, size in zip(some["path"].to_pylist(), some["bytes"].to_pylist(), strict=True)
        ]

    def remember(self) -> None:
        """Write what can be trusted next time."""
        settled = self._files["mtime_ns"].to_numpy() < self._trusted
        if not settled[self._new].any() and settled.sum() == self.remembered.num_rows:
            return
        table = self._files.select(["path", *STAMP]).append_column("sha256", self._found)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(self.file) as staging:
            # No value comes twice; a group is encoded in memory as a whole.
            pq.write_table(
                table.filter(settled), staging, use_dictionary=False, row_group_size=file_stats.ROW_GROUP
            )

    def _load(self) -> pa.Table:
        try:
            with pq.ParquetFile(self.file, pre_buffer=False) as file:
                table = file.read(use_threads=False).cast(SCHEMA)
            _digits(table["sha256"])
        except (OSError, ValueError):  # not there, or not whole: only costs time
            return SCHEMA.empty_table()
        return table


def _digits(column: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """The column as an array of fixed width, without a Python object a value."""
    fixed = column.cast(pa.binary()).cast(pa.binary(64)).combine_chunks()
    return np.frombuffer(fixed.buffers()[1] or b"", DIGITS)[fixed.offset : fixed.offset + len(fixed)]


def _text(hashes: NDArray[np.bytes_]) -> pa.Array:
    ends = np.arange(len(hashes) + 1, dtype=np.int32) * hashes.itemsize
    return pa.StringArray.from_buffers(len(hashes), pa.py_buffer(ends), pa.py_buffer(hashes))


def read_file(path: str, size: int) -> bytes:
    """The content of a file of about `size` bytes; for a small one in half the time of `open`."""
    file = os.open(path, os.O_RDONLY)
    try:
        content = os.read(file, size + 1)  # one more than there should be, so that one read is enough
        while len(content) != size and (more := os.read(file, manifests.ALWAYS_HASHED_BYTES)):
            content += more
        return content
    finally:
        os.close(file)


def _sha256(path: str, size: int) -> str:
    try:
        if size <= manifests.ALWAYS_HASHED_BYTES:
            return hashlib.sha256(read_file(path, size)).hexdigest()
        return hashing.sha256_file(Path(path))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read",
            expected="a file that stays while it is looked at and that may be read",
            found=getattr(error, "strerror", None) or str(error),
            done="nothing was written",
        ) from error
