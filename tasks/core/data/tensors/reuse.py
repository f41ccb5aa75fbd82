"""An earlier tensor cache of the same dataset, whose rows are used again for images of the same content.

What an image becomes follows from its bytes, the target's shape, the code and the libraries. Where these
are the same, its row is copied instead of decoded, and the new cache is the same to the byte as one made
from scratch.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import ROWS, SPLITS
from tasks.core.errors import FormatError
from tasks.core.stage.stages import NORMALIZE
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

BLOCK = 1 << 20  # bytes in memory at a time
SCHEMA = pa.schema(
    {
        "split": pa.string(),
        "row": pa.int32(),
        "image_id": pa.string(),
        "height": pa.int32(),
        "width": pa.int32(),
        "channels": pa.int32(),
    }
)


class ReusableCache:
    """The rows of an earlier cache; each is known by its number in the table of all of them.

    Args:
        directory: Its directory, None for no earlier cache.

    Attributes:
        shape: Height, width, channels of its images; () for no earlier cache.
        split: str (n,); the split of each row,
        row: int32 (n,); its number there,
        originals: int32 (n, 3); and the height, width and channels that the image came with.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._files = [directory / f"{split}.images.npy" for split in SPLITS] if directory else []
        self.shape: tuple[int, ...] = ()
        table = SCHEMA.empty_table()
        if directory:
            self.shape = tuple(manifests.read(directory)["facts"]["shape"])
            with pq.ParquetFile(directory / ROWS) as file:
                table = file.read(SCHEMA.names, use_threads=False).cast(SCHEMA)
        self._identity = table["image_id"].combine_chunks()
        self.split, self.row = np.array(table["split"].to_pylist(), np.str_), table["row"].to_numpy()
        self.originals = np.stack([table[name].to_numpy() for name in ("height", "width", "channels")], 1)

    def lookup(self, identity: pa.ChunkedArray) -> NDArray[np.int64]:
        """The number of a row with that content, for each identity; -1 where there is none."""
        return np.asarray(pc.fill_null(pc.index_in(identity, self._identity), -1), np.int64)

    @classmethod
    def find(cls, workspace: Workspace, dataset: str, record: dict[str, Any]) -> "ReusableCache":
        """The newest whole cache of a dataset made by the same code and libraries.

        Args:
            workspace: Where to look.
            dataset: Its name.
            record: The ingredients of the cache that is to be made.
        """
        found = []
        for directory in NORMALIZE.directory("", workspace).glob("[0-9a-f]*"):
            try:
                manifest = manifests.read(directory)
            except FormatError:  # being made, or of another version
                continue
            same = all(manifest["ingredients"].get(name) == record[name] for name in ("code", "libraries"))
            if same and manifest["facts"]["dataset"] == dataset:
                found.append((manifest["created"], directory))
        for _, directory in sorted(found, reverse=True):
            if manifests.is_complete(directory):
                return cls(directory)
        return cls()

    @contextmanager
    def opened(self) -> Iterator["Rows"]:
        with ExitStack() as stack:
            files = {}
            for path in self._files:
                file = stack.enter_context(path.open("rb"))
                np.lib.format.read_magic(file)
                np.lib.format.read_array_header_1_0(file)
                files[path.name] = (file.fileno(), file.tell())
            yield Rows(files, self.shape)


class Rows:
    """The images of an earlier cache, read some at a time: a memory map's pages would count as memory."""

    def __init__(self, files: dict[str, tuple[int, int]], shape: tuple[int, ...]) -> None:
        self._files, self._shape, self._bytes = files, shape, int(np.prod(shape, dtype=int))

    def read(self, split: str, row: int, count: int) -> Iterator[NDArray[np.uint8]]:
        """`count` rows from `row` on, as some arrays of uint8 (n, H, W, C)."""
        file, start = self._files[f"{split}.images.npy"]
        step = max(1, BLOCK // self._bytes)
        for first in range(row, row + count, step):
            size = min(step, row + count - first) * self._bytes
            content = os.pread(file, size, start + first * self._bytes)
            yield np.frombuffer(content, np.uint8).reshape(-1, *self._shape)
