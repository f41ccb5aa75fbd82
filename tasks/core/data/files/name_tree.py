"""Names with sizes, as an archive or a remote listing has them, that can be walked like folders on a disk."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, Union

from tasks.core.data import file_types
from tasks.core.errors import DataError

# A link has no target; `os.DirEntry` answers for ENOENT itself, and raises the others.
NO_TARGET = (errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG)
Node = dict[str, Union["Node", int]]  # a folder's entries by name; a file is its size in bytes


class Entry(Protocol):
    """What a walk asks of an entry of a folder: a part of `os.DirEntry`."""

    @property
    def name(self) -> str:
        """The last part of its path."""

    @property
    def path(self) -> str:
        """Its path, which begins with that of the folder."""

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a folder."""

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a file."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Its size and times."""


def is_dir(entry: Entry) -> bool:
    """Whether it is a folder, or a link to one; a link that leads nowhere or in a circle is none."""
    return _has_kind(entry.is_dir)


def is_file(entry: Entry) -> bool:
    """Whether it is a file, or a link to one; a link that leads nowhere or in a circle is none."""
    return _has_kind(entry.is_file)


def _has_kind(look: Callable[[], bool]) -> bool:
    try:
        return look()
    except OSError as error:
        if error.errno in NO_TARGET:
            return False
        raise


Scandir = Callable[[Path], AbstractContextManager[Iterator[Entry]]]


class TreeEntry(NamedTuple):
    """An entry of a `NameTree`; see `Entry`."""

    name: str
    path: str
    node: Node | int
    times: tuple[int, int]

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """See `Entry`."""
        return isinstance(self.node, dict)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """See `Entry`."""
        return isinstance(self.node, int)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Its size, with the times of the tree."""
        size = self.node if isinstance(self.node, int) else 0
        modified, changed = self.times
        times = {"st_mtime_ns": modified, "st_ctime_ns": changed}
        return os.stat_result((stat.S_IFREG, 0, 0, 1, 0, 0, size, 0, 0, 0), times)


class NameTree:
    """Folders and files by name. All files have the same times.

    Args:
        root: The path that stands for the root; it is not looked up on disk.
        times: Modification and change time of every file, in nanoseconds.
    """

    def __init__(self, root: Path, times: tuple[int, int] = (0, 0)) -> None:
        self.root, self.times = root, times
        self.prefix = ""  # of every name below `root`, with a slash; see `enter_single_folder`
        self._top: Node = {}

    def add(self, name: str, size: int | None) -> None:
        """Add a file, or a folder if `size` is None. Of hidden folders only the name is kept.

        Args:
            name: Relative, with forward slashes.
            size: In bytes.

        Raises:
            DataError: The name is already there as that of a file, or a part of it is.
        """
        path = PurePosixPath(name)
        hidden = [parent for parent in path.parents if not file_types.is_searched(parent.name)]
        if hidden:
            path, size = hidden[-1], None  # the outermost
        folder = self._top
        for part in path.parts if size is None else path.parts[:-1]:
            child = folder.setdefault(part, {})
            if isinstance(child, int):
                raise self._twice(name, "as a file and as a folder")
            folder = child
        if size is not None:
            if path.name in folder:
                raise self._twice(name, "twice")
            folder[path.name] = size

    def enter_single_folder(self, unless: Callable[[str], object]) -> None:
        """Make the only folder the root if it contains folders: the folder that was packed.

        Args:
            unless: Whether a name has a meaning of its own, so that the folder stays.
        """
        folders = _searched_folders(self._top)
        if len(folders) == 1 and not unless(folders[0]):
            name, node = folders[0], self._top[folders[0]]
            if isinstance(node, dict) and _searched_folders(node):
                self._top, self.prefix = node, f"{name}/"

    def scandir(self, folder: Path) -> AbstractContextManager[Iterator[TreeEntry]]:
        """The entries of a folder, for a path below `root`; see `os.scandir`."""
        node: Node | int = self._top
        for part in folder.relative_to(self.root).parts:
            assert isinstance(node, dict)  # noqa: S101 - only folders of the tree are walked
            node = node[part]
        assert isinstance(node, dict)  # noqa: S101
        return nullcontext(
            TreeEntry(name, f"{folder}/{name}", child, self.times) for name, child in node.items()
        )

    def _twice(self, name: str, how: str) -> DataError:
        return DataError(
            f"{self.root} has a name {how}",
            expected="every name once",
            found=name,
            done="nothing was written, the data are unchanged",
        )


def _searched_folders(folder: Node) -> list[str]:
    return [name for name, node in folder.items() if isinstance(node, dict) and file_types.is_searched(name)]
