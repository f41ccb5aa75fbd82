"""One parquet file of images: its columns, and its encoded images some megabytes at a time."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.data.files import columns
from tasks.core.data.files.class_names import layout_error, ordered
from tasks.core.data.readers.parquet import labels, schema
from tasks.core.data.readers.parquet.labels import ValuesError

MEMORY = 1 << 24  # bytes of encoded images in memory at a time
PAGES = {"pre_buffer": False, "buffer_size": 1 << 20}  # read a row group page by page


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Turn what pyarrow raises on damaged files into a `DataError`."""
    try:
        yield
    except ValuesError as error:
        raise layout_error(str(path), error.what, error.expected, error.found, error.todo) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError, MemoryError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        expected, todo = "a complete parquet file", "copy it again from where it is intact, or leave it out"
        raise layout_error(str(path), "cannot be read", expected, lines[0], todo) from error


class ParquetFile:
    """One parquet file of images.

    Args:
        path: The file.
        split: Its split, "" if its name has none.

    Raises:
        DataError: It cannot be read, or has no clear columns of images and labels.
    """

    def __init__(self, path: Path, split: str) -> None:
        self.path, self.split = path, split
        with parquet_errors(path), pq.ParquetFile(path) as file:
            self.columns = schema.find(path, file.schema_arrow)
            self.count = file.metadata.num_rows
        self.size = path.stat().st_size / max(1, self.count)  # bytes per image, approximately

    def names(self) -> tuple[str, ...]:
        """Class names: in the order of the labels if the schema has names, else as `ordered` has them."""
        return self.columns.names or ordered({name for name in self.labels() if name is not None})

    def classes(self, names: tuple[str, ...]) -> dict[str, set[str]]:
        """Class names by split; `names` are those of the whole file."""
        if self.split or not self.columns.split:
            return {self.split: set(names)}
        by_split: dict[str, set[str]] = {split: set(self.columns.names) for split in self.splits()}
        for split, name in zip(self.splits(), self.labels(), strict=True):
            by_split[split] |= {name} - {None}  # type: ignore[arg-type]
        return by_split

    def labels(self) -> list[str | None]:
        """The class name of each row; None where a row has no label.

        Raises:
            DataError: A label has no class name, or is no class.
        """
        with parquet_errors(self.path):
            values = self._column(self.columns.label)
            if not self.columns.names:
                return labels.class_names(values, self.columns.label)
            self._refuse_label(pc.max(values).as_py())
            names = self.columns.names
            return [None if value is None or value < 0 else names[value] for value in values.to_pylist()]

    def splits(self) -> list[str]:
        """The split of each row: that of the file's name, else that in its column `split`, else "".

        Raises:
            DataError: A value in the column is no split.
        """
        if self.split or not self.columns.split:
            return [self.split] * self.count
        with parquet_errors(self.path):
            name = self.columns.split
            return labels.splits(columns.as_text(self._column(name), self.columns.splits), name)

    def _column(self, name: str) -> pa.ChunkedArray:
        return pq.read_table(self.path, columns=[name], partitioning=None)[name]

    def further(self) -> dict[str, pa.ChunkedArray]:
        """The group of each row and its other values as text, by column; see `columns`."""
        with parquet_errors(self.path):
            names = self.columns.further
            table = pq.read_table(self.path, columns=list(names), partitioning=None)
            return {schema.usual_name(name): columns.as_text(table[name], names[name]) for name in names}

    def contents(self, wanted: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
        """Row and encoded image of the rows `wanted` (ascending); None where a row has no bytes."""
        with parquet_errors(self.path), pq.ParquetFile(self.path, **PAGES) as file:
            yield from encoded(file, self.columns.bytes, wanted)

    def _refuse_label(self, highest: int | None) -> None:
        names = self.columns.names
        if highest is not None and highest >= len(names):
            expected = f"labels 0..{len(names) - 1} in column {self.columns.label}"
            raise layout_error(str(self.path), "has a label without a class name", expected, str(highest))


def encoded(file: pq.ParquetFile, column: str, wanted: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
    """Row and encoded image of the rows `wanted` (ascending) of an open file, some megabytes at a time.

    Args:
        file: The open file.
        column: Path of the encoded images, see `schema.bytes_of`.
        wanted: Row numbers.
    """
    start = 0
    for group in range(file.num_row_groups):
        stop = start + file.metadata.row_group(group).num_rows
        rows = wanted[bisect_left(wanted, start) : bisect_left(wanted, stop)]
        if rows:
            yield from _group(file, column, group, start, set(rows))
        start = stop


def _group(
    file: pq.ParquetFile, column: str, group: int, row: int, wanted: set[int]
) -> Iterator[tuple[int, bytes | None]]:
    metadata = file.metadata.row_group(group)
    step = max(1, min(1024, MEMORY * metadata.num_rows // max(1, metadata.total_byte_size)))
    for batch in file.iter_batches(step, row_groups=[group], columns=[column]):
        images = batch.column(0)
        values = pc.struct_field(images, "bytes") if pa.types.is_struct(images.type) else images
        for value in values:
            if row in wanted:
                yield row, value.as_py()
            row += 1
