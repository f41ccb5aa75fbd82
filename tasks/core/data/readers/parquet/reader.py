"""Reads parquet files of images in bounded memory; splits are taken from the file names."""

import hashlib
import logging
import os
import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa

from tasks.core.data import file_types, split_names, threads
from tasks.core.data.decode import Target
from tasks.core.data.files import columns, file_stats, listing
from tasks.core.data.files.class_names import check_classes, layout_error, ordered
from tasks.core.data.readers import base
from tasks.core.data.readers.base import UNLABELLED, DecodedImage, DecodeFailure, ImageIndex, ImageRef
from tasks.core.data.readers.parquet.file import ParquetFile
from tasks.core.data.readers.parquet.labels import NO_BYTES
from tasks.core.data.readers.parquet.schema import LAYOUT, SPLIT, usual_name
from tasks.core.storage import hashing

PARTITION = re.compile(r"([^=/]+)=[^/]*/")  # a folder of a partitioned dataset, such as `site=a`
PART = re.compile(r"(.*)-(\d+)-of-(\d+)(-[0-9a-f]+)?\.parquet", re.IGNORECASE)  # as the hub names them
log = logging.getLogger("plumbline.data")


def scan(root: Path) -> pa.Table:
    """The parquet files below `root` (or `root` itself) with their splits, as a `file_stats.stats_table`.

    Raises:
        DataError: There is no parquet file, or only some names have a split.
    """
    if root.is_file():
        return file_stats.stats_table(root, [file_stats.file_stat(root.name, "", "", root.stat())])
    splits = {name: split_of(name) for name in _names(root)}
    if "" in splits.values() and len(set(splits.values())) > 1:
        without_split = ", ".join(name for name, split in splits.items() if not split)
        raise layout_error(
            str(root), "has a split in some names only", "train-*, validation-*, test-*", without_split
        )
    if not splits:
        raise layout_error(str(root), "has no parquet file", LAYOUT, "none")
    _warn_of_missing_parts(root, splits)
    _warn_of_partitions(root, splits)
    stats = (file_stats.file_stat(name, split, "", _status(root / name)) for name, split in splits.items())
    return file_stats.stats_table(root, stats)


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        expected, todo = "a file, or a link to one", "copy it again from where it is intact, or leave it out"
        found = f"{'a broken link: ' if path.is_symlink() else ''}{error.strerror}"
        raise layout_error(str(path), "cannot be read", expected, found, todo) from error


def _warn_of_missing_parts(root: Path, names: Iterable[str]) -> None:
    """Say which parts are not there of files that count them, such as `train-00001-of-00003.parquet`."""
    parts: dict[tuple[str, str], set[int]] = defaultdict(set)
    for match in filter(None, map(PART.fullmatch, names)):
        parts[match[1], match[3]].add(int(match[2]))
    for (start, total), found in parts.items():
        first, count = int(int(total) in found and 0 not in found), int(total)
        missing = count - sum(first <= number < first + count for number in found)
        if missing:
            example = next(number for number in range(first, first + count) if number not in found)
            log.warning(
                "%s: %d of %d parts of %s are missing, such as number %d: their images are not used",
                *(root, missing, count, start, example),
            )


def _warn_of_partitions(root: Path, names: Iterable[str]) -> None:
    """Name columns that are in the names of folders only, since no column is read from there but splits."""
    for name in sorted({key for file in names for key in PARTITION.findall(file)}):
        if usual_name(name) == SPLIT:
            continue
        log.warning(
            "%s: the folders %s=... are not read as a column: store it in the files, too, or keep the images "
            "of one folder together by --group-by '%s=([^/]+)'",
            *(root, name, name),
        )


def _names(root: Path) -> Iterator[str]:
    """Relative paths of the parquet files, but for hidden ones and what `reason_of_folder` leaves out."""
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not file_types.reason_of_folder(name, f"{parent}/{name}")]
        for name in names:
            if name.lower().endswith(".parquet") and not name.startswith("."):
                yield Path(parent, name).relative_to(root).as_posix()


def split_of(name: str) -> str:
    """The split in a file's path; "" if there is none.

    >>> split_of("data/validation-00000-of-00002.parquet")
    'val'
    """
    for part in reversed(PurePosixPath(name).parts):
        words = set(re.split(r"[^a-z]+", part.lower()))
        for split, keywords in split_names.WORDS.items():
            if words & set(keywords):
                return split
    return ""


class ParquetReader:
    """Images in parquet files; some megabytes of them are in memory at a time.

    Args:
        root: The folder of the files.
        files: The listing, a table of `listing.SCHEMA`.

    Raises:
        DataError: A file cannot be read or lacks a column, or the splits' classes differ.
    """

    shape = None
    published = False
    random_access = False

    def __init__(self, root: Path, files: pa.Table) -> None:
        self._listed = list(listing.iter_files(files))
        self._parquet_files = [ParquetFile(root / file.path, file.split) for file in self._listed]
        self._source = self._parquet_files[0].path if len(self._parquet_files) == 1 else root
        self.classes = _class_names(self._source, self._parquet_files)

    def count(self) -> int:
        """Read and check every label. Returns the number of images."""
        return sum(len(parquet_file.labels()) for parquet_file in self._parquet_files)

    def index(self) -> ImageIndex:
        """All images, in the order of the files; reads everything once.

        Raises:
            DataError: A file was changed after it was listed, or cannot be read.
        """
        return ImageIndex.of(self._rows()).with_columns(self._further())

    def _further(self) -> dict[str, pa.ChunkedArray]:
        """The further columns of all files; null in the rows of a file that lacks a column."""
        tables = [
            pa.table({**file.further(), "": pa.nulls(file.count, pa.null())}) for file in self._parquet_files
        ]
        table = pa.concat_tables(tables, promote_options="default").drop_columns([""])
        has_splits = any(file.split or file.columns.split for file in self._parquet_files)
        named = dict(zip(table.column_names, table.columns, strict=True))
        return columns.kept(str(self._source), named, has_splits=has_splits)

    def _rows(self) -> Iterator[ImageRef]:
        label_of = {name: label for label, name in enumerate(self.classes)}
        for parquet_file, listed in zip(self._parquet_files, self._listed, strict=True):
            _check_unchanged(parquet_file, listed)
            labels, splits = parquet_file.labels(), parquet_file.splits()
            for row, content in parquet_file.contents(range(parquet_file.count)):
                name, image_id = labels[row], hashlib.sha256(content or b"").hexdigest()
                label = UNLABELLED if name is None else label_of[name]
                yield ImageRef(image_id, f"{listed.path}#{row}", splits[row], label)

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader.images`."""
        for start, file, contents in self._contents(wanted):
            yield from threads.map_threaded(partial(_decode_row, start, target), contents, size=file.size)

    def blocks(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        """See `Reader.blocks`: one by one."""
        return self.images(wanted, target)

    def files(self, wanted: Sequence[int]) -> Iterator[IO[bytes] | None]:
        """See `Reader.files`."""
        for _, _, contents in self._contents(wanted):
            yield from (None if content is None else BytesIO(content) for _, content in contents)

    def _contents(
        self, wanted: Sequence[int]
    ) -> Iterator[tuple[int, ParquetFile, Iterator[tuple[int, bytes | None]]]]:
        """The number of each file's first image, the file, and row and content of what is wanted of it."""
        start = 0
        for file in self._parquet_files:
            numbers = wanted[bisect_left(wanted, start) : bisect_left(wanted, start + file.count)]
            yield start, file, file.contents([number - start for number in numbers])
            start += file.count


def _class_names(root: Path, files: list[ParquetFile]) -> tuple[str, ...]:
    """The classes of all files, matched by name; in the order of a train file that has all of them."""
    _refuse_no_rows(root, files)
    by_split: dict[str, set[str]] = {}
    name_orders = []
    for file in sorted(files, key=lambda file: file.split != "train"):
        name_orders.append(file.names())
        for split, names in file.classes(name_orders[-1]).items():
            by_split.setdefault(split, set()).update(names)
    if "" in by_split and len(by_split) > 1:
        expected, todo = "a split in every row or in none", "fill the column split, or remove it"
        raise layout_error(str(root), "has a split in some rows only", expected, "both", todo)
    check_classes(str(root), by_split, LAYOUT)
    all_names = set().union(*by_split.values())
    return next((names for names in name_orders if len(names) == len(all_names)), ordered(all_names))


def _refuse_no_rows(root: Path, files: list[ParquetFile]) -> None:
    """Refuse a split all of whose files are without rows; a writer in parts may leave some of them empty."""
    by_split: dict[str, list[ParquetFile]] = {}
    for file in files:
        by_split.setdefault(file.split, []).append(file)
    for split, of_split in by_split.items():
        if not any(file.count for file in of_split):
            found, todo = f"0 rows in {of_split[0].path.name}", "write it again, or leave it out"
            what = "has no rows" + f" in {split}" * bool(split)
            raise layout_error(str(root), what, "a row for each image", found, todo)


def _check_unchanged(parquet_file: ParquetFile, listed: listing.ListedFile) -> None:
    if hashing.sha256_file(parquet_file.path) != listed.sha256:
        raise layout_error(str(parquet_file.path), "was changed after it was listed", "an unchanged file", "")


def _decode_row(start: int, target: Target, item: tuple[int, bytes | None]) -> DecodedImage | DecodeFailure:
    row, content = item
    if content is None:
        return DecodeFailure(start + row, NO_BYTES)
    return base.decode_image(start + row, content, target)
