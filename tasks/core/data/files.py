"""Sources whose images are encoded files."""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core import stage
from tasks.core.data import crew, decode, listing
from tasks.core.data.classes import check, refusal
from tasks.core.data.columns import LAYOUT
from tasks.core.data.decode import Target
from tasks.core.data.hashes import whole
from tasks.core.data.reader import UNLABELLED, Decoded, Failed, Row, Rows
from tasks.core.data.shards import Shard
from tasks.core.errors import DecodeError


class Folder:
    """Image files below one folder, as a listing says."""

    shape = None
    published = False

    def __init__(self, root: Path, files: pa.Table) -> None:
        self.classes = tuple(sorted(files["class_name"].unique().to_pylist()))
        self._root, self._files = root, files
        self._bytes = files["bytes"].to_numpy()

    @property
    def random_access(self) -> bool:
        """Small files have just been hashed and are in the page cache; a disk would seek for large ones."""
        return bool(self._bytes.mean() < crew.WORTH_IT)

    def rows(self) -> Rows:
        names = pc.index_in(self._files["class_name"], pa.array(self.classes))
        split = np.array(self._files["split"].to_pylist(), np.str_)
        return Rows(self._files["sha256"], self._files["path"], split, names.to_numpy().astype(np.int32))

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded | Failed]:
        size = self._bytes[wanted].sum() / max(1, len(wanted))
        return crew.each(partial(self._image, target), self._listed(wanted), size=size)

    def _listed(self, wanted: Sequence[int]) -> Iterator[tuple[int, str, int, str]]:
        """Number, path, bytes and SHA-256 of each; few at a time are Python objects."""
        for start in range(0, len(wanted), listing.BATCH):
            numbers = wanted[start : start + listing.BATCH]
            some = self._files.take(pa.array(numbers, pa.int64()))
            yield from zip(
                numbers, *(some[name].to_pylist() for name in ("path", "bytes", "sha256")), strict=True
            )

    def _image(self, target: Target, listed: tuple[int, str, int, str]) -> Decoded | Failed:
        row, path, size, sha256 = listed
        try:
            content = whole(f"{self._root}/{path}", size)
        except (OSError, ValueError) as error:
            return Failed(row, f"not readable: {getattr(error, 'strerror', None) or error}")
        if hashlib.sha256(content).hexdigest() != sha256:
            return Failed(row, "changed after it was listed")
        return _decoded(row, content, target)


class Shards:
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
        self._shards = [Shard(root / file.path, file.split) for file in self._files]
        self.classes = _classes(root, self._shards)

    def count(self) -> int:
        """Read every label, checking it, and count the images."""
        return sum(len(shard.labels()) for shard in self._shards)

    def rows(self) -> Rows:
        """All images, in the source's own order; reads everything once.

        Raises:
            DataError: A file was changed after it was listed, or can't be read.
        """
        return Rows.of(self._rows())

    def _rows(self) -> Iterator[Row]:
        places = {name: label for label, name in enumerate(self.classes)}
        for shard, file in zip(self._shards, self._files, strict=True):
            _refuse_change(shard, file)
            labels = shard.labels()
            for row, content in shard.contents(range(shard.count)):
                name, identity = labels[row], hashlib.sha256(content or b"").hexdigest()
                label = UNLABELLED if name is None else places[name]
                yield Row(identity, f"{file.path}#{row}", file.split, label)

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded | Failed]:
        start = 0
        for shard in self._shards:
            inside = wanted[bisect_left(wanted, start) : bisect_left(wanted, start + shard.count)]
            contents = shard.contents([number - start for number in inside])
            yield from crew.each(partial(_number, start, target), contents, size=shard.size)
            start += shard.count


def _classes(root: Path, shards: list[Shard]) -> tuple[str, ...]:
    """The classes of all files, matched by name; in the order of a train file that has them all."""
    by_split: dict[str, set[str]] = {}
    orders = []
    for shard in sorted(shards, key=lambda shard: shard.split != "train"):
        orders.append(shard.names())
        by_split.setdefault(shard.split, set()).update(orders[-1])
    check(str(root), by_split, LAYOUT)
    every = set().union(*by_split.values())
    return next((order for order in orders if len(order) == len(every)), tuple(sorted(every)))


def _refuse_change(shard: Shard, file: listing.File) -> None:
    if stage.sha256_file(shard.path) != file.sha256:
        raise refusal(str(shard.path), "was changed after it was listed", "a file that stays as it is", "")


def _number(start: int, target: Target, item: tuple[int, bytes | None]) -> Decoded | Failed:
    row, content = item
    return _decoded(start + row, content or b"", target)


def _decoded(row: int, content: bytes, target: Target) -> Decoded | Failed:
    try:
        return Decoded(row, *decode.decode(content, target))
    except DecodeError as error:
        return Failed(row, error.summary)
