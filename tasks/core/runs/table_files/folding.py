"""Folds many small parts of a dataset into few: those of earlier versions, which wrote one part a run.

Many files cannot be replaced by one in a single rename. So the whole folder of the dataset is built anew
beside the table, and both folders are exchanged in one step (`renameat2` with RENAME_EXCHANGE, Linux 3.15).
Every listing has the old parts or the new ones, never some of both. The names of new parts are new. So a
reader that listed the folder before the exchange and opens the files afterwards gets an error, never a row
twice or a part of the rows; Plumbline's own reader looks again. Where there is no such exchange (macOS, some
network file systems) the parts stay as they are.
"""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from tasks.core.runs.table_files import filling, parts
from tasks.core.stage import publish
from tasks.core.storage import atomic, checksum_list, hashing, lock

SMALL_PARTS = 64  # from so many on they are folded
RENAME_EXCHANGE = 2  # linux/fs.h
AT_FDCWD = -100  # fcntl.h


def fold(folder: Path, table_folder: Path, schema: pa.Schema) -> bool:
    """Fold the small intact parts of a dataset if there are many; the caller holds the table's lock.

    Args:
        folder: The folder of the dataset in the table.
        table_folder: The folder of the table. The new folder is built beside it: tools that search a table
            for files would find it inside.
        schema: The present columns of the table.

    Returns:
        Whether it was done.
    """
    known = filling.paths(folder)
    if len(known) < SMALL_PARTS:
        return False
    broken = set(parts.damaged(table_folder, known))
    small = [path for path in known if path not in broken and not filling.is_full(path)]
    if len(small) < SMALL_PARTS or not _can_exchange(table_folder.parent):
        return False
    beside = table_folder.parent / f"{table_folder.name} {folder.name}"
    with lock.exclusive(publish.lock_path(beside)), atomic.staging_directory(beside) as staging:
        atomic.remove_leftovers(beside)
        staging.mkdir(exist_ok=True)
        for path in sorted(set(folder.iterdir()) - set(small)):
            os.link(path, staging / path.name)
        written = [_write(rows, staging, small[0].stem) for rows in _groups(small, schema)]
        inside = folder.relative_to(table_folder).as_posix()
        # Small parts without a checksum are read as a whole; so a kill before the exchange does no harm.
        checksum_list.update(table_folder, removed=small)
        sums = {f"{inside}/{path.name}": hashing.sha256_file(path) for path in written}
        atomic.sync(staging)
        exchange(staging, folder)
        atomic.sync(table_folder)
        checksum_list.record(table_folder, sums)
    return True


def exchange(first: Path, second: Path) -> None:
    """Exchange two paths in one step.

    Raises:
        OSError: The operating system or the file system cannot.
    """
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is None:
        raise OSError("there is no renameat2")
    paths = (AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second))
    if function(*paths, RENAME_EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _can_exchange(parent: Path) -> bool:
    """Whether two folders here can be exchanged: tried with two empty ones."""
    with (
        atomic.staging_directory(parent / "exchange a") as first,
        atomic.staging_directory(parent / "exchange b") as second,
    ):
        try:
            exchange(first, second)
        except OSError:
            return False
    return True


def _groups(small: list[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of the parts, oldest part first, in tables that each fill a part."""
    group: list[pa.Table] = []
    size = 0
    for path in sorted(small, key=lambda path: (path.stat().st_mtime_ns, path.name)):
        group.append(filling.with_columns(filling.read(path), schema))
        size += path.stat().st_size
        if size >= filling.FULL_BYTES * 4 or sum(map(len, group)) >= filling.FULL_ROWS:
            yield pa.concat_tables(group)
            group, size = [], 0
    if group:
        yield pa.concat_tables(group)


def _write(rows: pa.Table, staging: Path, first: str) -> Path:
    """Write a part under a new name, which says how many rows it has and sorts behind its first run's."""
    number = len(list(staging.glob(f"{first} and more *.parquet"))) + 1
    path = staging / f"{first} and more {number:04d}.parquet"
    parts.write_file(path, rows)
    atomic.sync(path)
    return path
