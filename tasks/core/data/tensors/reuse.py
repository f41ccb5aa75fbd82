"""Reuses rows of an earlier tensor cache of the same dataset for images of the same content.

A row depends on the image's bytes, the target's shape and fit, the code and the libraries. Where these are
the same, the row is copied instead of decoded, and the new cache is byte-identical to one built from scratch.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.config import Fit
from tasks.core.data.pixels import EIGHT
from tasks.core.data.tensors.cache import ROWS, SPLITS
from tasks.core.errors import FormatError
from tasks.core.stage.stages import NORMALIZE
from tasks.core.storage import manifests
from tasks.core.workspace import Workspace

# Modules that decide no pixel.
OF_LABELS = ("data.readers.corrections", "data.readers.corrections_file", "data.csv_text")
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
    """The rows of an earlier cache, numbered as in its table of rows.

    Args:
        directory: Its directory; None if there is no earlier cache.

    Attributes:
        shape: Height, width, channels of its images; () if there is no earlier cache.
        fit: How images of other proportions became `shape`.
        wide: Whether grey values of more than 8 bits were scaled by all of its images: none is copied then.
        split: str (n,); the split of each row.
        row: int32 (n,); the number of each row within its split.
        originals: int32 (n, 3); the original height, width and channels of each image.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._files = [directory / f"{split}.images.npy" for split in SPLITS] if directory else []
        self.shape: tuple[int, ...] = ()
        self.fit, self.wide = Fit.crop, False
        table = SCHEMA.empty_table()
        if directory:
            facts = manifests.read(directory)["facts"]
            self.shape, self.fit = tuple(facts["shape"]), Fit.of(facts)
            self.wide = facts.get("grey_bits", EIGHT) > EIGHT
            with pq.ParquetFile(directory / ROWS) as file:
                table = file.read(SCHEMA.names, use_threads=False).cast(SCHEMA)
        self._image_ids = table["image_id"].combine_chunks()
        self.split, self.row = np.array(table["split"].to_pylist(), np.str_), table["row"].to_numpy()
        self.originals = np.stack([table[name].to_numpy() for name in ("height", "width", "channels")], 1)

    def lookup(self, image_ids: pa.ChunkedArray) -> NDArray[np.int64]:
        """The number of a row with each image id, int64 (N,); -1 where there is none."""
        return np.asarray(pc.fill_null(pc.index_in(image_ids, self._image_ids), -1), np.int64)

    @classmethod
    def find(cls, workspace: Workspace, dataset: str, record: dict[str, Any]) -> "ReusableCache":
        """The newest complete cache of a dataset that was built with the same code and libraries.

        Args:
            workspace: Where to search.
            dataset: The dataset's name.
            record: The ingredients of the cache to build.
        """
        candidates = []
        for directory in NORMALIZE.directory("", workspace).glob("[0-9a-f]*"):
            try:
                manifest = manifests.read(directory)
            except FormatError:  # unfinished, or of another format version
                continue
            if _decoded_alike(manifest["ingredients"], record) and manifest["facts"]["dataset"] == dataset:
                candidates.append((manifest["created"], directory))
        for _, directory in sorted(candidates, reverse=True):
            if manifests.is_complete(directory):
                return cls(directory)
        return cls()

    @contextmanager
    def opened(self) -> Iterator["CachedImages"]:
        """Open the files of its images for reading."""
        with ExitStack() as stack:
            files = {}
            for path in self._files:
                file = stack.enter_context(path.open("rb"))
                np.lib.format.read_magic(file)
                np.lib.format.read_array_header_1_0(file)
                files[path.name] = (file.fileno(), file.tell())
            yield CachedImages(files, self.shape)


def _decoded_alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the same code and libraries decoded the images; corrections change labels only."""
    codes = [dict(record["code"]) for record in (one, other)]
    for code in codes:
        for module in OF_LABELS:
            code.pop(module, None)
    return codes[0] == codes[1] and one["libraries"] == other["libraries"]


class CachedImages:
    """The images of an earlier cache, read in blocks.

    A memory map is not used, since its pages would count as the process's memory.
    """

    def __init__(self, files: dict[str, tuple[int, int]], shape: tuple[int, ...]) -> None:
        self._files, self._shape, self._bytes = files, shape, int(np.prod(shape, dtype=int))

    def read(self, split: str, row: int, count: int) -> Iterator[NDArray[np.uint8]]:
        """`count` rows from `row` on, as blocks of uint8 (n, H, W, C)."""
        file, start = self._files[f"{split}.images.npy"]
        step = max(1, BLOCK // self._bytes)
        for first in range(row, row + count, step):
            size = min(step, row + count - first) * self._bytes
            content = os.pread(file, size, start + first * self._bytes)
            yield np.frombuffer(content, np.uint8).reshape(-1, *self._shape)
