"""Archives of files that are read in place: zip, and tar without compression.

Nothing is unpacked, so no member's name becomes a file's name. An archive that could mean different things to
different programs is refused as a whole: see `Archive`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.data import decode, file_types
from tasks.core.data.files import tar_members, zip_members
from tasks.core.data.files.archive_errors import archive_error, archive_errors
from tasks.core.data.files.name_tree import NameTree
from tasks.core.data.split_names import split_of
from tasks.core.storage import names

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2")
EXPECTED = f"a zip or tar archive ({', '.join(SUFFIXES)})"
LAYOUT = "an archive of <class>/*.jpg or {train,val,test}/<class>/*.jpg, or of one folder that has these"
MAX_MEMBER_BYTES = 8 * decode.MAX_PIXELS  # 1.4 GB: the largest image that is decoded, 4 channels of 16 bits
MAX_RATIO = 100  # unpacked to packed bytes; 1 for JPEG and PNG, 1,032 at most for deflate
FREE_BYTES = 1 << 28  # unpacked bytes that need no ratio: a few blank bitmaps are no bomb
MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",  # without members
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
}
TAR_MAGIC = slice(257, 262)
HEADER = 512


class Members(Protocol):
    """The members of one kind of archive."""

    def names(self) -> Iterator[tuple[str, int | None, Any, str]]:
        """Name, size (None for a folder), key for `read`, and why it cannot be used, of every member."""

    def read(self, key: Any, size: int) -> bytes:
        """The content of a member; at most one byte more than `size`."""


class _Found(NamedTuple):
    key: Any
    size: int


def kind_of(path: Path) -> str:
    """What an archive is by its first bytes: "zip", "tar", "gzip", "bzip2" or "xz".

    Raises:
        ArchiveError: It is none of these, or cannot be read.
    """
    with archive_errors(path), path.open("rb") as file:
        header = file.read(HEADER)
    for magic, kind in MAGIC.items():
        if header.startswith(magic):
            return kind
    if header[TAR_MAGIC] == b"ustar" or tar_members.is_old_tar(path):
        return "tar"
    found = f"a file that begins with {header[:8]!r}" if header else "an empty file"
    todo = "copy it again, or pack the folder of the classes as .zip"
    raise archive_error(path, "is no archive", expected=EXPECTED, found=found, todo=todo)


class Archive:
    """The files of an archive, found by name.

    Of folders whose name begins with a dot, and of `__MACOSX`, only the name is kept. If the archive has one
    other folder, with folders in it, names are relative to that folder, unless it is named like a split.

    Args:
        path: A zip, or a tar without compression.

    Raises:
        ArchiveError: It is damaged or truncated; a name leads out of the archive, is not UTF-8, or is there
            twice; a member is a link or a device, or encrypted, or compressed in another way than deflate.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, _Found] = {}
        kind = kind_of(path)
        if kind not in MEMBERS:
            expected = "a zip, or a tar without compression"
            raise archive_error(path, "has no random access", expected=expected, found=kind)
        with archive_errors(path):
            status = path.stat()
            self.tree = NameTree(path, (status.st_mtime_ns, status.st_ctime_ns))
            self._members: Members = MEMBERS[kind](path)
            for name, size, key, problem in self._members.names():
                self._add(_without_dot(name), size, key, problem)
        self.tree.enter_single_folder(unless=split_of)

    def _add(self, name: str, size: int | None, key: Any, problem: str) -> None:
        if not name and size is None:  # the archive's own folder
            return
        is_visible = all(map(file_types.is_searched, name.split("/")))
        what = f"whose name {names.refusal(name)}" if names.refusal(name) else is_visible and problem
        if what:
            what = f"has a member {what}"
            raise archive_error(self.path, what, expected=LAYOUT, found=repr(name), todo="pack it again")
        if not problem:
            self.tree.add(name, size)
            if size is not None:
                self._found[name] = _Found(key, size)

    def check_sizes(self, files: pa.Table) -> None:
        """Refuse decompression bombs among the files of a `file_stats.stats_table`.

        Raises:
            ArchiveError: A file is larger than any image that is decoded, or all together are more than
                `MAX_RATIO` times the archive.
        """
        largest = files.slice(pc.index(files["bytes"], pc.max(files["bytes"])).as_py(), 1).to_pylist()[0]
        if largest["bytes"] > MAX_MEMBER_BYTES:
            found = f"{largest['path']}: {largest['bytes']:,} bytes"
            expected = f"images of at most {MAX_MEMBER_BYTES:,} bytes"
            raise archive_error(self.path, "has a member that is too large", expected=expected, found=found)
        check_ratio(self.path, pc.sum(files["bytes"]).as_py())

    def read_head(self, path: str) -> bytes:
        """The first bytes of a file, by its path as an entry of `tree` has it.

        Raises:
            ArchiveError: It is damaged.
        """
        name = path.removeprefix(f"{self.path}/")
        found = self._found[self.tree.prefix + name]
        with archive_errors(self.path, name):
            return self._members.read(found.key, min(found.size, file_types.HEAD))[: file_types.HEAD]

    def read(self, name: str, size: int) -> bytes:
        """The content of a file. Several threads may read at once.

        Args:
            name: As `tree` has it.
            size: Bytes that it should have.

        Raises:
            ArchiveError: There is no such file of this size, or it is damaged.
        """
        found = self._found.get(self.tree.prefix + name)
        if found is None or found.size != size:
            raise archive_error(self.path, f"has no {name} of {size:,} bytes any more", expected=EXPECTED)
        with archive_errors(self.path, name):
            content = self._members.read(found.key, size)
        if len(content) != size:
            expected, real = f"{size:,} bytes, as the archive says", f"{len(content):,} bytes or more"
            raise archive_error(self.path, f"has a wrong size for {name}", expected=expected, found=real)
        return content


MEMBERS: dict[str, Callable[[Path], Members]] = {"zip": zip_members.ZipMembers, "tar": tar_members.TarMembers}


def check_ratio(path: Path, unpacked: int) -> None:
    """Refuse an archive whose content is much larger than the archive itself.

    Raises:
        ArchiveError: See `MAX_RATIO`.
    """
    packed = path.stat().st_size
    if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
        raise archive_error(
            path,
            "unpacks to too much",
            expected=f"at most {MAX_RATIO} times its size of {packed:,} bytes",
            found=f"{unpacked:,} bytes or more",
            todo="if you trust it, unpack it yourself and give the folder",
        )


def _without_dot(name: str) -> str:
    """The name without a slash at the end, and without the "./" in front that `tar -C folder .` writes."""
    name = name.rstrip("/") if name.strip("/") else name
    while name.startswith("./"):
        name = name.removeprefix("./")
    return "" if name == "." else name
