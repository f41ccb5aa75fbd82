"""Parquet files of images, read in bounded memory, and the splits that their names say."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.data import columns, seen
from tasks.core.data.classes import refusal
from tasks.core.data.columns import LAYOUT

# What the hub takes for a split in a file's or folder's name, between signs that aren't letters
# (https://huggingface.co/docs/hub/datasets-file-names-and-splits).
SPLITS = {
    "train": ("train", "training"),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
MEMORY = 1 << 24  # bytes of encoded images in memory at a time
PAGES = {"pre_buffer": False, "buffer_size": 1 << 20}  # read a row group page by page, not as a whole


def scan(root: Path) -> pa.Table:
    """The parquet files below `root` (or `root` itself) with their splits, as a `seen.table`.

    Raises:
        DataError: None, or a split in some names only.
    """
    if root.is_file():
        return seen.table(root, [seen.line(root.name, "", "", root.stat())])
    names = [path.relative_to(root) for path in root.rglob("*.parquet")]
    splits = {
        name.as_posix(): split_of(name.as_posix())
        for name in names
        if not any(part.startswith(".") for part in name.parts)
    }
    if "" in splits.values() and len(set(splits.values())) > 1:
        bare = ", ".join(name for name, split in splits.items() if not split)
        raise refusal(str(root), "has a split in some names only", "train-*, validation-*, test-*", bare)
    if not splits:
        raise refusal(str(root), "has no parquet file", LAYOUT, "none")
    lines = (seen.line(name, split, "", (root / name).stat()) for name, split in splits.items())
    return seen.table(root, lines)


def split_of(name: str) -> str:
    """The split that a file's path names; "" if none.

    >>> split_of("data/validation-00000-of-00002.parquet")
    'val'
    """
    for part in reversed(PurePosixPath(name).parts):
        words = set(re.split(r"[^a-z]+", part.lower()))
        for split, keywords in SPLITS.items():
            if words & set(keywords):
                return split
    return ""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on bad bytes into a `DataError`."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        found = str(error).strip().splitlines() or [type(error).__name__]
        raise refusal(str(path), "cannot be read", "a whole parquet file", found[0]) from error


class Shard:
    """One parquet file of images.

    Args:
        path: The file.
        split: Its split, "" if its name says none.

    Raises:
        DataError: It can't be read, or isn't laid out as it should be.
    """

    def __init__(self, path: Path, split: str) -> None:
        self.path, self.split = path, split
        with reading(path), pq.ParquetFile(path) as file:
            self.columns = columns.find(path, file.schema_arrow)
            self.count = file.metadata.num_rows
        self.size = path.stat().st_size / max(1, self.count)  # bytes of an image, nearly

    def names(self) -> tuple[str, ...]:
        """Class names, in the order of the labels where they are numbers."""
        return self.columns.names or tuple(sorted({name for name in self.labels() if name is not None}))

    def labels(self) -> list[str | None]:
        """The class name of each row; None where a row has no label.

        Raises:
            DataError: A label beyond the class names.
        """
        with reading(self.path):
            values = pq.read_table(self.path, columns=[self.columns.label])[self.columns.label]
            if not self.columns.names:
                return [None if value is None else str(value) for value in values.to_pylist()]
            self._refuse_label(pc.max(values).as_py())
            names = self.columns.names
            # The hub marks rows without a label by -1.
            return [None if value is None or value < 0 else names[value] for value in values.to_pylist()]

    def contents(self, wanted: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
        """Encoded images of the rows `wanted` (ascending), with their row; None where there are no bytes."""
        with reading(self.path), pq.ParquetFile(self.path, **PAGES) as file:
            yield from encoded(file, self.columns.bytes, wanted)

    def _refuse_label(self, highest: int | None) -> None:
        names = self.columns.names
        if highest is not None and highest >= len(names):
            expected = f"labels 0..{len(names) - 1} in column {self.columns.label}"
            raise refusal(str(self.path), "has a label without a class name", expected, str(highest))


def encoded(file: pq.ParquetFile, column: str, wanted: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
    """Encoded images of the rows `wanted` (ascending) of an open file, some megabytes at a time.

    Args:
        column: Path of the encoded images, see `columns.bytes_of`.
    """
    start = 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        inside = wanted[bisect_left(wanted, start) : bisect_left(wanted, stop)]
        if inside:
            yield from _group(file, column, group, start, set(inside))
        start = stop


def _group(
    file: pq.ParquetFile, column: str, group: int, row: int, wanted: set[int]
) -> Iterator[tuple[int, bytes | None]]:
    facts = file.metadata.row_group(group)
    step = max(1, min(1024, MEMORY * facts.num_rows // max(1, facts.total_byte_size)))
    for batch in file.iter_batches(step, row_groups=[group], columns=[column]):
        images = batch.column(0)
        values = pc.struct_field(images, "bytes") if pa.types.is_struct(images.type) else images
        for value in values:
            if row in wanted:
                yield row, value.as_py()
            row += 1
