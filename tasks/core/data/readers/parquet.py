"""Parquet files of images, read in bounded memory, and the splits that their names say."""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.data import threads
from tasks.core.data.decode import Target
from tasks.core.data.files import file_stats, listing
from tasks.core.data.readers import base, parquet_schema
from tasks.core.data.readers.base import UNLABELLED, DecodedImage, DecodeFailure, ImageIndex, ImageRef
from tasks.core.data.readers.class_names import check_classes, layout_error
from tasks.core.data.readers.parquet_schema import LAYOUT
from tasks.core.storage import hashing

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
    """The parquet files below `root` (or `root` itself) with their splits, as a `file_stats.stats_table`.

    Raises:
        DataError: None, or a split in some names only.
    """
    if root.is_file():
        return file_stats.stats_table(root, [file_stats.file_stat(root.name, "", "", root.stat())])
    names = [path.relative_to(root) for path in root.rglob("*.parquet")]
    splits = {
        name.as_posix(): split_of(name.as_posix())
        for name in names
        if not any(part.startswith(".") for part in name.parts)
    }
    if "" in splits.values() and len(set(splits.values())) > 1:
        bare = ", ".join(name for name, split in splits.items() if not split)
        raise layout_error(str(root), "has a split in some names only", "train-*, validation-*, test-*", bare)
    if not splits:
        raise layout_error(str(root), "has no parquet file", LAYOUT, "none")
    lines = (file_stats.file_stat(name, split, "", (root / name).stat()) for name, split in splits.items())
    return file_stats.stats_table(root, lines)


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
        raise layout_error(str(path), "cannot be read", "a whole parquet file", found[0]) from error


class ParquetFile:
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
            self.columns = parquet_schema.find(path, file.schema_arrow)
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
            raise layout_error(str(self.path), "has a label without a class name", expected, str(highest))


def encoded(file: pq.ParquetFile, column: str, wanted: Sequence[int]) -> Iterator[tuple[int, bytes | None]]:
    """Encoded images of the rows `wanted` (ascending) of an open file, some megabytes at a time.

    Args:
        column: Path of the encoded images, see `parquet_schema.bytes_of`.
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


class ParquetReader:
    """Images in parquet files; some megabytes of them are in memory at a time.

    Args:
        root: The folder of the files.
        files: The files, as a listing says.

    Raises:
        DataError: A file isn't as it should be, or the splits' classes differ.
    """

    shape = None
    published = False
    random_access = False

    def __init__(self, root: Path, files: pa.Table) -> None:
        self._files = list(listing.lines(files))
        self._shards = [ParquetFile(root / file.path, file.split) for file in self._files]
        self.classes = _class_names(root, self._shards)

    def count(self) -> int:
        """Read every label, checking it, and count the images."""
        return sum(len(shard.labels()) for shard in self._shards)

    def index(self) -> ImageIndex:
        """All images, in the source's own order; reads everything once.

        Raises:
            DataError: A file was changed after it was listed, or can't be read.
        """
        return ImageIndex.of(self._rows())

    def _rows(self) -> Iterator[ImageRef]:
        places = {name: label for label, name in enumerate(self.classes)}
        for shard, file in zip(self._shards, self._files, strict=True):
            _check_unchanged(shard, file)
            labels = shard.labels()
            for row, content in shard.contents(range(shard.count)):
                name, identity = labels[row], hashlib.sha256(content or b"").hexdigest()
                label = UNLABELLED if name is None else places[name]
                yield ImageRef(identity, f"{file.path}#{row}", file.split, label)

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        start = 0
        for shard in self._shards:
            inside = wanted[bisect_left(wanted, start) : bisect_left(wanted, start + shard.count)]
            contents = shard.contents([number - start for number in inside])
            yield from threads.map_threaded(partial(_decode_row, start, target), contents, size=shard.size)
            start += shard.count


def _class_names(root: Path, shards: list[ParquetFile]) -> tuple[str, ...]:
    """The classes of all files, matched by name; in the order of a train file that has them all."""
    by_split: dict[str, set[str]] = {}
    orders = []
    for shard in sorted(shards, key=lambda shard: shard.split != "train"):
        orders.append(shard.names())
        by_split.setdefault(shard.split, set()).update(orders[-1])
    check_classes(str(root), by_split, LAYOUT)
    every = set().union(*by_split.values())
    return next((order for order in orders if len(order) == len(every)), tuple(sorted(every)))


def _check_unchanged(shard: ParquetFile, file: listing.ListedFile) -> None:
    if hashing.sha256_file(shard.path) != file.sha256:
        raise layout_error(
            str(shard.path), "was changed after it was listed", "a file that stays as it is", ""
        )


def _decode_row(start: int, target: Target, item: tuple[int, bytes | None]) -> DecodedImage | DecodeFailure:
    row, content = item
    return base.decode_image(start + row, content or b"", target)
