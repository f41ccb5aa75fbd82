"""Copies of the files at an address: made once in the workspace, and again when they change there.

An address is that of a parquet file, of an archive of images, or of a folder of parquet files or of images.
The files have no published hash to verify: the first copy is trusted, and its SHA-256 identifies it from then
on.
"""

import json
import logging
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data import file_types, threads
from tasks.core.data.files.name_tree import NameTree
from tasks.core.data.readers.image_folder import folders
from tasks.core.data.sources import remote
from tasks.core.data.sources.remote import Entry, RemoteSource
from tasks.core.data.sources.resolve import format_of
from tasks.core.errors import NetworkError, UsageError
from tasks.core.progress import Progress, ignore_progress
from tasks.core.storage import atomic, checksum_list, hashing, lock, names
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")

PARQUET = ".parquet"
EXPECTED = (
    "the address of a parquet file or an archive of images; or of a folder of parquet files or of images "
    "(not over http, which cannot list folders)"
)
TAGS_FILE = ".version_tags.json"
WORKERS = 16  # images copied at once: one takes some 50 ms on an object store, whatever its size
SAVE_INTERVAL = 30.0  # seconds of copying that a killed run loses


class Copies(NamedTuple):
    """The copies of the files at an address.

    Args:
        path: The folder, or the file in it if the address is that of a file.
        format_name: The format of the dataset.
        unused: What a folder of images has beside images, as a `file_stats.stats_table`; None otherwise. It
            is not copied.
    """

    path: Path
    format_name: str
    unused: pa.Table | None


def update_copies(address: str, workspace: Workspace, refresh: bool, progress: Progress) -> Copies:
    """Update the copy of an address in the workspace.

    Args:
        address: Of a file or a folder.
        workspace: The copies are in `downloads/<digest of the address>/`.
        refresh: Copy everything again.
        progress: Called with bytes done.

    Raises:
        UsageError: The address has no file system, a package is missing, or it has nothing to read.
        DataError: Its images are not in class folders, or a name would lead out of the folder of the copies.
        NetworkError: It could not be reached, or the connection broke; another attempt may succeed.
    """
    folder = workspace.downloads / hashing.digest_of(address)
    with remote.opened(address) as source:
        with remote.network(address):
            is_file = source.is_file()
            format_name = _format_of_file(address, source.name) if is_file else ""
            entries, unused = source.entries(), None
        if not is_file:
            format_name, entries, unused = _chosen(address, source, entries)
        workers = WORKERS if format_name == "folder" else 1
        with lock.exclusive(workspace.downloads / f".{folder.name}.lock"):
            _Copying(source, address, folder, progress, workers).update(entries, refresh)
    return Copies(folder / entries[0].name if is_file else folder, format_name, unused)


def _format_of_file(address: str, name: str) -> str:
    format_name = format_of(name)
    if format_name in ("parquet", "archive"):
        return format_name
    raise UsageError(
        f"{address} is not the address of a parquet file or an archive",
        expected=EXPECTED,
        found=name or "no name",
    )


def _chosen(
    address: str, source: RemoteSource, entries: list[Entry]
) -> tuple[str, list[Entry], pa.Table | None]:
    """The format of a folder's dataset, its files, and `Copies.unused`. Parquet files come before images."""
    if not entries:
        raise UsageError(f"There is nothing at {address}", expected=EXPECTED)
    tables = [entry for entry in entries if entry.name.lower().endswith(PARQUET)]
    if tables:
        _tree(address, tables)
        return "parquet", tables, None
    tree, sizes = _tree(address, entries), {entry.name: entry.bytes for entry in entries}

    def read_head(path: str) -> bytes:
        name = path.removeprefix(f"{tree.root}/")
        size = sizes[name]
        with remote.network(address):
            return source.head(name, file_types.HEAD if size is None else min(size, file_types.HEAD))

    found = folders.scan(tree.root, folders.Walk(tree.scandir, read_head))
    is_used = pc.equal(found["reason"], "")
    images = set(found.filter(is_used)["path"].to_pylist())
    chosen = [entry for entry in entries if entry.name in images]
    return "folder", chosen, found.filter(pc.invert(is_used))


def _tree(address: str, entries: Iterable[Entry]) -> NameTree:
    """The entries as folders.

    Raises:
        DataError: A name is none of a file inside a folder, or that of a file and of a folder.
    """
    tree = NameTree(Path(PurePosixPath(address).name))
    for entry in entries:
        names.path_inside(tree.root, entry.name, address)
        tree.add(entry.name, entry.bytes or 0)
    return tree


@dataclass
class _Copying:
    """One update of the copies of an address.

    Args:
        source: Lists and reads the files.
        address: For messages.
        folder: Where the copies are; its lock is held.
        progress: Called with bytes done.
        workers: Files copied at once.
    """

    source: RemoteSource
    address: str
    folder: Path
    progress: Progress
    workers: int
    tags: dict[str, str] = field(default_factory=dict)

    def update(self, entries: list[Entry], refresh: bool) -> None:
        """Copy the files that changed, and remove those that are not among `entries`.

        What was copied before an error is not copied again next time.
        """
        self.tags = {} if refresh else _version_tags(self.folder)
        stale = [entry for entry in entries if not self._is_current(entry)]
        self._total = sum(entry.bytes or 0 for entry in entries)
        self._done = self._total - sum(entry.bytes or 0 for entry in stale)
        try:
            self._copy_all(stale)
        finally:
            self._save_tags()
        self._remove_others({entry.name for entry in entries})
        # The list is not among the copies, where it would be a file of the dataset.
        missing = checksum_list.read(self.folder.parent).missing()
        gone = [path for path in missing if path.is_relative_to(self.folder)]
        if stale or gone:
            checksum_list.update(self.folder.parent, [self.folder / entry.name for entry in stale], gone)

    def _is_current(self, entry: Entry) -> bool:
        """Whether the copy exists and has the entry's version tag."""
        is_same = entry.version_tag != "" and self.tags.get(entry.name) == entry.version_tag
        return is_same and names.path_inside(self.folder, entry.name, self.address).is_file()

    def _copy_all(self, stale: list[Entry]) -> None:
        saved = time.monotonic()
        size = math.inf if self.workers > 1 else 0
        for entry in threads.map_threaded(self._copy, stale, size=size, workers=self.workers):
            self.tags[entry.name] = entry.version_tag
            self._done += entry.bytes or 0
            self.progress(self._done, self._total)
            if time.monotonic() > saved + SAVE_INTERVAL:
                self._save_tags()
                saved = time.monotonic()

    def _copy(self, entry: Entry) -> Entry:
        log.info("copying %s from %s", entry.name, self.address)
        # A receiver of progress belongs to this thread. Several files at once report when they are done.
        progress = self.progress if self.workers == 1 else ignore_progress
        with atomic.replacing(names.path_inside(self.folder, entry.name, self.address)) as staging:
            size = 0
            with staging.open("wb") as file:
                for chunk in self._chunks(entry):
                    file.write(chunk)
                    size += len(chunk)
                    progress(self._done + size, self._total)
            self._check_size(entry, size)
        return entry

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        with remote.network(self.address):  # not around the writing: a full disk is no error of the network
            yield from self.source.chunks(entry.name)

    def _check_size(self, entry: Entry, size: int) -> None:
        if entry.bytes is not None and size != entry.bytes:
            raise NetworkError(
                f"{entry.name} from {self.address} is incomplete",
                expected=f"{entry.bytes:,} bytes",
                found=f"{size:,} bytes",
            )

    def _save_tags(self) -> None:
        if self.tags:
            atomic.write_bytes(self.folder / TAGS_FILE, json.dumps(self.tags, indent=1).encode())

    def _remove_others(self, kept: set[str]) -> None:
        """Remove files that the address no longer has, what killed runs left, and empty folders."""
        kept_files = {*kept, TAGS_FILE}
        for path in sorted(self.folder.rglob("*"), reverse=True):  # what is in a folder comes before it
            if path.is_dir():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.relative_to(self.folder).as_posix() not in kept_files:
                path.unlink()
        if self.tags.keys() - kept:
            self.tags = {name: tag for name, tag in self.tags.items() if name in kept}
            self._save_tags()


def _version_tags(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / TAGS_FILE).read_bytes()))
    except (OSError, ValueError, TypeError):  # missing or damaged tags only cost another copy
        return {}
