"""Sources whose images are encoded files."""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from tasks.core import stage
from tasks.core.data import crew, decode, listing
from tasks.core.data.classes import check, refusal
from tasks.core.data.columns import LAYOUT
from tasks.core.data.decode import Target
from tasks.core.data.hashes import whole
from tasks.core.data.reader import UNLABELLED, Decoded, Failed, Row
from tasks.core.data.shards import Shard
from tasks.core.errors import DecodeError


class Folder:
    """Image files below one folder, as a listing says."""

    shape = None
    published = False

    def __init__(self, root: Path, files: list[listing.File]) -> None:
        self.classes = tuple(sorted({file.class_name for file in files}))
        self._root, self._files = root, files

    @property
    def random_access(self) -> bool:
        """Small files have just been hashed and are in the page cache; a disk would seek for large ones."""
        return sum(file.bytes for file in self._files) < crew.WORTH_IT * len(self._files)

    def rows(self) -> list[Row]:
        labels = {name: label for label, name in enumerate(self.classes)}
        return [Row(file.sha256, file.path, file.split, labels[file.class_name]) for file in self._files]

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[Decoded | Failed]:
        size = sum(self._files[row].bytes for row in wanted) / max(1, len(wanted))
        return crew.each(lambda row: self._image(row, target), wanted, size=size)

    def _image(self, row: int, target: Target) -> Decoded | Failed:
        listed = self._files[row]
        try:
            content = whole(f"{self._root}/{listed.path}", listed.bytes)
        except (OSError, ValueError) as error:
            return Failed(row, f"not readable: {getattr(error, 'strerror', None) or error}")
        if hashlib.sha256(content).hexdigest() != listed.sha256:
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

    def __init__(self, root: Path, files: list[listing.File]) -> None:
        self._files = files
        self._shards = [Shard(root / file.path, file.split) for file in files]
        self.classes = _classes(root, self._shards)

    def count(self) -> int:
        """Read every label, checking it, and count the images."""
        return sum(len(shard.labels()) for shard in self._shards)

    def rows(self) -> list[Row]:
        """All images, in the source's own order; reads everything once.

        Raises:
            DataError: A file was changed after it was listed, or can't be read.
        """
        places = {name: label for label, name in enumerate(self.classes)}
        rows = []
        for shard, file in zip(self._shards, self._files, strict=True):
            _refuse_change(shard, file)
            labels = shard.labels()
            for row, content in shard.contents(range(shard.count)):
                name, identity = labels[row], hashlib.sha256(content or b"").hexdigest()
                label = UNLABELLED if name is None else places[name]
                rows.append(Row(identity, f"{file.path}#{row}", file.split, label))
        return rows

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
