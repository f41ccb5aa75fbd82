"""Lists folders of nothing but images, without a Python object for each file.

Every other folder is left to `image_folder.folders`, which looks at each entry: so there is one place that
says what is used and why not.
"""

import os
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data import file_types
from tasks.core.data.block_decoder import library

ROOM = 1 << 13  # files of a folder that are expected
SUFFIXES = b"".join(suffix.encode() + b"\0" for suffix in sorted(file_types.SUFFIXES))


class PlainFolder(NamedTuple):
    """The files of a folder of nothing but images, in any order.

    Args:
        names: Strings (n,).
        stats: int64 (n, 3); bytes, modification and change time in ns.
    """

    names: pa.Array
    stats: NDArray[np.int64]

    def columns(self, prefix: str, split: str, class_name: str) -> list[pa.Array]:
        """The columns of a `file_stats.stats_table`.

        Args:
            prefix: Put before each name, with a slash at its end.
            split, class_name: Of all files.
        """
        texts = [pa.repeat(text, len(self.names)) for text in (split, class_name, "")]
        paths = pc.binary_join_element_wise(prefix, self.names, "")
        return [paths, *texts[:2], *(pa.array(column) for column in self.stats.T), texts[2]]


class PlainFolders:
    """Looks at each folder once, since a scan asks for a folder's files more than once."""

    def __init__(self) -> None:
        self.find = cache(_plain_folder)


def _plain_folder(folder: Path) -> PlainFolder | None:
    decoder = library.load()
    try:
        found = decoder.list_folder(str(folder), SUFFIXES, ROOM) if decoder else _listed(str(folder))
    except OSError:  # `image_folder.folders` meets it again, and says so
        return None
    return PlainFolder(*found) if found and len(found[0]) else None


def _listed(folder: str) -> tuple[pa.Array, NDArray[np.int64]] | None:
    """As `Library.list_folder`. Entries below an open folder are found faster than by their whole path."""
    names: list[str] = []
    stats: list[tuple[int, int, int]] = []
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with os.scandir(descriptor) as entries:
            listed = list(entries)
        for entry in listed:
            if not file_types.claims_to_be_image(entry.name) or not entry.is_file(follow_symlinks=False):
                return None
        for entry in listed:
            status = entry.stat(follow_symlinks=False)
            names.append(entry.name)
            stats.append((status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        return pa.array(names, pa.string()), np.array(stats, np.int64).reshape(-1, 3)
    except (UnicodeEncodeError, OverflowError):  # a name that is not UTF-8, or a time after the year 2262
        return None
    finally:
        os.close(descriptor)
