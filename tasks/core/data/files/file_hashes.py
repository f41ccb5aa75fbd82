"""SHA-256 of files, cached by size and times, so that hashing an unchanged folder again is cheap.

A cached hash is valid while size, modification time and change time are the same. The hash of a file that was
modified within `RACY` seconds before it was read is not cached: the file could change again without a change
of its time (git's "racily clean" entries, Documentation/technical/racy-git.adoc). The cache itself has a
checksum: one that is damaged is not used.
"""

import hashlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data import threads
from tasks.core.data.block_decoder import library, recent_files
from tasks.core.data.block_decoder.library import DIGITS, Digits, FileBlock
from tasks.core.data.block_decoder.recent_files import RecentFiles
from tasks.core.data.block_decoder.text_hashes import digits_of
from tasks.core.data.files import file_stats
from tasks.core.errors import DataError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.stages import DOWNLOAD
from tasks.core.storage import atomic, checksum_list, hashing, manifests
from tasks.core.workspace import Workspace

RACY = 2.0  # seconds; the resolution of FAT's time stamps, the coarsest in use
BATCH = 256  # files between two progress reports, and per task of a thread
STAMP = ("bytes", "mtime_ns", "ctime_ns")
SCHEMA = pa.schema([*(file_stats.SCHEMA.field(name) for name in ("path", *STAMP)), ("sha256", pa.string())])
log = logging.getLogger("plumbline.data")


Contents = Callable[[str, int], bytes]  # a file's content by its path and size


class Hashes:
    """The hashes of the files below one folder.

    Args:
        root: The folder; a single file, whose path relative to itself is ""; or an archive of the files.
        workspace: Where the hashes are cached.
        ignore_cache: Read every file again.
        opened: Opens an archive when the first file is read; None if the files are in a folder.

    Attributes:
        read: Number of files read so far.
    """

    def __init__(
        self,
        root: Path,
        workspace: Workspace,
        *,
        ignore_cache: bool = False,
        opened: Callable[[], Contents] | None = None,
    ) -> None:
        self.root = root
        self._opened = opened
        self.file = DOWNLOAD.directory(".hashes", workspace) / f"{hashing.digest_of(str(root))}.parquet"
        self.cached = SCHEMA.empty_table() if ignore_cache else self._load()
        self.read = 0

    def compute(self, files: pa.Table, progress: Progress = ignore_progress) -> pa.Array:
        """SHA-256 of each file of a `file_stats.stats_table`. Only new and changed files are read.

        Args:
            files: The table.
            progress: Called with files hashed.

        Returns:
            Strings of 64 hexadecimal digits, in the order of the table.

        Raises:
            DataError: A file cannot be read.
        """
        self._trusted = (time.time() - RACY) * 1e9
        self._files, hashes = files, self._lookup(files)
        self._paths = files["path"].combine_chunks()
        self._stats = np.stack([files[name].to_numpy() for name in STAMP], 1)
        self._unknown = unknown = np.flatnonzero(hashes == b"")
        self._contents = self._opened() if self._opened and len(unknown) else None
        is_small = self._stats[unknown, 0].mean() < threads.MIN_THREADED_BYTES if len(unknown) else False
        is_block = is_small and not self._contents
        self._decoder = library.load() if is_block else None
        self._recent = None
        if len(unknown) and not self._contents:
            is_hashed = (hashes == b"") & (self._stats[:, 1:] < self._trusted).all(1)
            self._recent = RecentFiles(self.root, self._paths, self._stats, is_hashed)
        batches = [unknown[start : start + BATCH] for start in range(0, len(unknown), BATCH)]
        size = 0 if is_small and not self._decoder else threads.MIN_THREADED_BYTES
        for batch, digests in zip(batches, threads.map_threaded(self._read, batches, size=size), strict=True):
            hashes[batch] = digests
            self.read += len(batch)
            progress(self.read, len(unknown), "hashing")
        if self._recent:
            self._recent.sha256 = hashes
            recent_files.offer(self._recent)
        self._hashes = _text(hashes)
        return self._hashes

    def _lookup(self, files: pa.Table) -> Digits:
        """The cached hash of each file; empty where there is none, or one of another state of the file."""
        hashes = np.zeros(files.num_rows, DIGITS)
        indices = pc.fill_null(pc.index_in(files["path"], self.cached["path"].combine_chunks()), -1)
        rows = np.flatnonzero(indices.to_numpy() >= 0)
        cached_rows = indices.to_numpy()[rows]
        is_same = np.ones(len(rows), bool)
        for name in STAMP:
            is_same &= files[name].to_numpy()[rows] == self.cached[name].to_numpy()[cached_rows]
        hashes[rows[is_same]] = digits_of(self.cached["sha256"])[cached_rows[is_same]]
        return hashes

    def _read(self, batch: NDArray[np.int64]) -> Digits:
        root, paths, sizes = str(self.root), self._paths.take(pa.array(batch)), self._stats[batch, 0]
        digits = np.zeros(len(batch), DIGITS)
        if self._decoder and self._recent:
            buffer = self._recent.room(batch)
            digits = self._decoder.sha256_of_files(FileBlock(root, paths, sizes), buffer)
            self._recent.keep(batch, buffer, digits != b"")
        rest = np.flatnonzero(digits == b"")
        listed = zip(rest.tolist(), paths.take(pa.array(rest)).to_pylist(), sizes[rest].tolist(), strict=True)
        for position, path, size in listed:
            if self._contents:
                digits[position] = hashlib.sha256(self._contents(path, size)).hexdigest()
            else:
                digits[position] = _sha256(f"{root}/{path}" if path else root, size)
        return digits

    def remember(self) -> None:
        """Write the hashes that will still be valid next time to the cache."""
        is_settled = self._files["mtime_ns"].to_numpy() < self._trusted
        if not is_settled[self._unknown].any() and is_settled.sum() == self.cached.num_rows:
            return
        table = self._files.select(["path", *STAMP]).append_column("sha256", self._hashes)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(self.file) as staging:
            # No dictionary, since all values differ. A row group is encoded in memory, so it is small.
            pq.write_table(
                table.filter(is_settled),
                staging,
                use_dictionary=False,
                row_group_size=file_stats.ROW_GROUP,
                write_page_checksum=True,
            )
        checksum_list.update(self.file.parent, [self.file])

    def _load(self) -> pa.Table:
        try:
            if checksum_list.read(self.file.parent).differs(self.file):
                log.warning("%s is damaged: every file of %s is read again", self.file, self.root)
                return SCHEMA.empty_table()
            with pq.ParquetFile(self.file, pre_buffer=False, page_checksum_verification=True) as file:
                table = file.read(use_threads=False).cast(SCHEMA)
            digits_of(table["sha256"])
        except (OSError, ValueError):  # a missing or damaged cache only costs time
            return SCHEMA.empty_table()
        return table


def _text(hashes: Digits) -> pa.Array:
    ends = np.arange(len(hashes) + 1, dtype=np.int32) * hashes.itemsize
    return pa.StringArray.from_buffers(len(hashes), pa.py_buffer(ends), pa.py_buffer(hashes))


def read_file(path: str, size: int) -> bytes:
    """The content of a file of about `size` bytes; small files take half the time of `open`."""
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
            expected="a readable file that is not removed during the run",
            found=getattr(error, "strerror", None) or str(error),
            done="nothing was written",
        ) from error
