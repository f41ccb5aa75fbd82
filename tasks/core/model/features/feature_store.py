"""The store of features: for each image and backbone once, for all runs, datasets, folds and sweeps.

The folder of a store is named by everything that decides the bytes of a feature but the image. Its files are
immutable parquet tables with page checksums, one for each batch, so that a killed run loses the batch in
flight. `compact` merges them. Several processes may write to one store at the same time. A part that is not
what its checksum says is removed, and its features are computed again.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.files.parquet_part import is_damaged
from tasks.core.storage import atomic, checksum_list, lock

PARTS = "*.parquet"
MIN_ROWS = 4096  # parts with fewer rows are merged by `compact`
Features = NDArray[np.floating[Any]]
log = logging.getLogger("plumbline.features")


class FeatureStore:
    """The features of one kind that a workspace has.

    Args:
        folder: Its folder; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._intact: set[Path] = set()

    def add(self, image_ids: Sequence[str], features: Features) -> None:
        """Write a part.

        Args:
            image_ids: The SHA-256 of the content of each image.
            features: float16 or float32 (n, ...).
        """
        name = hashlib.sha256("\n".join(image_ids).encode()).hexdigest()[:24]
        flat = pa.array(np.ascontiguousarray(features).ravel())
        values = pa.FixedSizeListArray.from_arrays(flat, features[0].size)
        columns = [pa.array(image_ids, pa.string()), values]
        self._write(f"{name}.parquet", pa.table(columns, ["image_id", "features"]))

    def missing(self, image_ids: pa.Array) -> NDArray[np.bool_]:
        """Which of the images have no features here, bool (n,)."""
        known = [pq.read_table(path, columns=["image_id"])["image_id"] for path in self._parts()]
        present = pa.chunked_array([chunk for column in known for chunk in column.chunks], pa.string())
        return np.asarray(pc.invert(pc.is_in(image_ids, present)))

    def read(self, image_ids: pa.Array, out: Features) -> None:
        """Read the features of images in their order, part by part.

        Args:
            image_ids: The SHA-256 of the content of each image.
            out: Of that dtype, (n, ...), into which they are written.

        Raises:
            KeyError: An image has no features here.
        """
        found = np.zeros(len(image_ids), bool)
        for path in self._parts():
            table = pq.read_table(path, page_checksum_verification=True).combine_chunks()
            rows = np.asarray(pc.fill_null(pc.index_in(image_ids, table["image_id"].combine_chunks()), -1))
            wanted = np.flatnonzero((rows >= 0) & ~found)
            values = table["features"].combine_chunks().flatten().to_numpy()
            out[wanted] = values.reshape(-1, *out.shape[1:])[rows[wanted]]
            found[wanted] = True
        if not found.all():
            raise KeyError(f"{int((~found).sum())} images have no features in {self.folder}")

    def compact(self) -> None:
        """Merge small parts into one. A kill leaves rows twice, which harms nothing."""
        with lock.exclusive(self.folder / ".lock"):
            small = [path for path in self._parts() if pq.read_metadata(path).num_rows < MIN_ROWS]
            if len(small) > 1:
                table = pa.concat_tables([pq.read_table(path) for path in small]).combine_chunks()
                name = hashlib.sha256("".join(path.name for path in small).encode()).hexdigest()[:24]
                self._write(f"{name}.parquet", table)
                checksum_list.update(self.folder, removed=small)
                for path in small:
                    path.unlink()

    def _parts(self) -> list[Path]:
        """The intact parts; each is checked once by this object, and removed if it is damaged."""
        paths = sorted(self.folder.glob(PARTS))
        listed = checksum_list.read(self.folder)
        for path in paths:
            if path not in self._intact and is_damaged(path, listed):
                log.warning("%s is damaged: it is removed, and its features are computed again", path)
                checksum_list.update(self.folder, removed=[path])
                path.unlink(missing_ok=True)
            else:
                self._intact.add(path)
        return [path for path in paths if path in self._intact]

    def _write(self, name: str, table: pa.Table) -> None:
        with atomic.replacing(self.folder / name) as staging:
            # Dictionaries and compression find nothing in features.
            pq.write_table(table, staging, use_dictionary=False, compression="none", write_page_checksum=True)
        checksum_list.add(self.folder, [self.folder / name])
        self._intact.add(self.folder / name)
