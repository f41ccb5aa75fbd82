"""An earlier tensor cache of the same dataset, whose rows are used again for images of the same content.

What an image becomes follows from its bytes, the target's shape, the code and the libraries. Where these
are the same, its row is copied instead of decoded, and the new cache is the same to the byte as one made
from scratch.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core import stage
from tasks.core.data.cache import SPLITS
from tasks.core.errors import FormatError
from tasks.core.workspace import Workspace

ROWS = "rows.parquet"
BLOCK = 1 << 20  # bytes in memory at a time
COLUMNS = ["split", "row", "id", "height", "width", "channels"]


class Place(NamedTuple):
    """Where an image is in an earlier cache, and the height, width and channels it came with."""

    split: str
    row: int
    original: tuple[int, int, int]


class Earlier:
    """The rows of an earlier cache.

    Args:
        directory: Its directory, None for no earlier cache.

    Attributes:
        shape: Height, width, channels of its images; () for no earlier cache.
        places: Place by the image's identity.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._files = [directory / f"{split}.images.npy" for split in SPLITS] if directory else []
        self.shape: tuple[int, ...] = ()
        self.places: dict[str, Place] = {}
        if directory:
            self.shape = tuple(stage.read_manifest(directory)["facts"]["shape"])
            columns = pq.read_table(directory / ROWS, columns=COLUMNS).to_pydict()
            for split, row, identity, *original in zip(*(columns[name] for name in COLUMNS), strict=True):
                height, width, channels = original
                self.places[identity] = Place(split, row, (height, width, channels))

    @classmethod
    def find(cls, workspace: Workspace, dataset: str, record: dict[str, Any]) -> "Earlier":
        """The newest whole cache of a dataset made by the same code and libraries.

        Args:
            workspace: Where to look.
            dataset: Its name.
            record: The ingredients of the cache that is to be made.
        """
        found = []
        for directory in workspace.tensors.glob("[0-9a-f]*"):
            try:
                manifest = stage.read_manifest(directory)
            except FormatError:  # being made, or of another version
                continue
            same = all(manifest["ingredients"].get(name) == record[name] for name in ("code", "libraries"))
            if same and manifest["facts"]["dataset"] == dataset:
                found.append((manifest["created"], directory))
        for _, directory in sorted(found, reverse=True):
            if stage.is_whole(directory):
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
