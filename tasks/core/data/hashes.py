"""SHA-256 of files, remembered by size and times, so that looking again at a folder is cheap.

A remembered hash counts while size, modification time and change time are the same. A file that was
modified within `RACY` seconds of being hashed isn't remembered: it could change again without its time
showing it (git's "racily clean" entries, Documentation/technical/racy-git.adoc).
"""

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import stage
from tasks.core.errors import DataError
from tasks.core.progress import Progress, silent
from tasks.core.workspace import Workspace

RACY = 2.0  # seconds; the coarsest time stamps in use are FAT's
WORKERS = 4  # hashing and reading release the interpreter lock
BATCH = 256  # files handed to a worker at a time: handing over one costs more than hashing a small file
SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "bytes": pa.int64(),
        "mtime_ns": pa.int64(),
        "ctime_ns": pa.int64(),
        "sha256": pa.string(),
    }
)
Key = tuple[str, int, int, int]


class Hashes:
    """The hashes of the files below one folder.

    Args:
        root: The folder; or a single file, whose path below itself is "".
        workspace: Where they are remembered.
        forget: Read every file again, whatever is remembered.
    """

    def __init__(self, root: Path, workspace: Workspace, *, forget: bool = False) -> None:
        self.root = root
        self.file = workspace.raw / ".hashes" / f"{stage.digest_of(str(root))}.parquet"
        self.remembered = {} if forget else self._load()
        self.read = 0

    def of(self, files: Iterable[tuple[str, os.stat_result]], progress: Progress = silent) -> dict[str, str]:
        """SHA-256 by path; reads only files that look new."""
        now = time.time()
        keys = [_key(path, status) for path, status in files]
        unknown = [key for key in keys if key not in self.remembered]
        batches = [unknown[start : start + BATCH] for start in range(0, len(unknown), BATCH)]
        fresh: dict[Key, str] = {}
        with ThreadPoolExecutor(WORKERS) as pool:
            for batch, hashes in zip(batches, pool.map(self._read, batches), strict=True):
                fresh.update(zip(batch, hashes, strict=True))
                progress(len(fresh), len(unknown), "hashing")
        self.read = len(unknown)
        known = {key: self.remembered[key] for key in keys if key in self.remembered} | fresh
        self.settled = {key: sha256 for key, sha256 in known.items() if key[2] < (now - RACY) * 1e9}
        self.found = {key[0]: sha256 for key, sha256 in known.items()}
        return self.found

    def _read(self, batch: list[Key]) -> list[str]:
        return [_sha256(self.root / key[0], key[1]) for key in batch]

    def remember(self) -> None:
        """Write what can be trusted next time."""
        if self.settled == self.remembered:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        rows = [dict(zip(SCHEMA.names, (*key, sha256), strict=True)) for key, sha256 in self.settled.items()]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), sink)
        stage.write_atomically(self.file, sink.getvalue().to_pybytes())

    def _load(self) -> dict[Key, str]:
        try:
            columns = pq.read_table(self.file, schema=SCHEMA).to_pydict()
        except (OSError, pa.ArrowInvalid):  # not there, or not whole: only costs time
            return {}
        keys = zip(*(columns[name] for name in SCHEMA.names[:-1]), strict=True)
        return dict(zip(keys, columns["sha256"], strict=True))


def _key(path: str, status: os.stat_result) -> Key:
    return path, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _sha256(path: Path, size: int) -> str:
    try:
        if size <= stage.SMALL:
            with path.open("rb", buffering=0) as file:
                return hashlib.sha256(file.read()).hexdigest()
        return stage.sha256_file(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read",
            expected="a file that stays while it is looked at and that may be read",
            found=error.strerror or str(error),
            done="nothing was written",
        ) from error
