"""SHA-256 of files, remembered by size and times, so that looking again at a folder is cheap.

A remembered hash counts while size, modification time and change time are the same. A file that was
modified within `RACY` seconds of being hashed isn't remembered: it could change again without its time
showing it (git's "racily clean" entries, Documentation/technical/racy-git.adoc).
"""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core import stage
from tasks.core.data import crew
from tasks.core.data.folder import Stamp
from tasks.core.errors import DataError
from tasks.core.progress import Progress, silent
from tasks.core.workspace import Workspace

RACY = 2.0  # seconds; the coarsest time stamps in use are FAT's
BATCH = 256  # files between two reports, and handed to a thread at a time
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

    def of(self, files: Iterable[tuple[str, Stamp]], progress: Progress = silent) -> dict[str, str]:
        """SHA-256 by path; reads only files that look new."""
        self._trusted = (time.time() - RACY) * 1e9
        self._keys = [(path, *stamp) for path, stamp in files]
        unknown = [key for key in self._keys if key not in self.remembered]
        batches = [unknown[start : start + BATCH] for start in range(0, len(unknown), BATCH)]
        size = sum(key[1] for key in unknown) / max(1, len(unknown))
        self.found = {key[0]: self.remembered[key] for key in self._keys if key in self.remembered}
        for batch, hashes in zip(batches, crew.each(self._read, batches, size=size), strict=True):
            self.found.update(zip((key[0] for key in batch), hashes, strict=True))
            self.read += len(batch)
            progress(self.read, len(unknown), "hashing")
        return self.found

    def _read(self, batch: list[Key]) -> list[str]:
        root = str(self.root)
        return [_sha256(f"{root}/{key[0]}" if key[0] else root, key[1]) for key in batch]

    def remember(self) -> None:
        """Write what can be trusted next time."""
        settled = [key for key in self._keys if key[2] < self._trusted]
        if len(settled) == len(self.remembered) and all(key in self.remembered for key in settled):
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        columns = [
            pa.array((key[place] for key in settled), kind) for place, kind in enumerate(SCHEMA.types[:-1])
        ]
        columns.append(pa.array((self.found[key[0]] for key in settled), pa.string()))
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns, schema=SCHEMA), sink, use_dictionary=False)  # no value comes twice
        stage.write_atomically(self.file, sink.getvalue().to_pybytes())

    def _load(self) -> dict[Key, str]:
        try:
            columns = pq.read_table(self.file, schema=SCHEMA).to_pydict()
        except (OSError, pa.ArrowInvalid):  # not there, or not whole: only costs time
            return {}
        keys = zip(*(columns[name] for name in SCHEMA.names[:-1]), strict=True)
        return dict(zip(keys, columns["sha256"], strict=True))


def whole(path: str, size: int) -> bytes:
    """The content of a file of about `size` bytes; for a small one in half the time of `open`."""
    file = os.open(path, os.O_RDONLY)
    try:
        parts = [os.read(file, size + 1)]  # one more than there should be, so that one read is enough
        while len(parts[-1]) and sum(map(len, parts)) != size:
            parts.append(os.read(file, stage.SMALL))
        return b"".join(parts)
    finally:
        os.close(file)


def _sha256(path: str, size: int) -> str:
    try:
        if size <= stage.SMALL:
            return hashlib.sha256(whole(path, size)).hexdigest()
        return stage.sha256_file(Path(path))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read",
            expected="a file that stays while it is looked at and that may be read",
            found=getattr(error, "strerror", None) or str(error),
            done="nothing was written",
        ) from error
