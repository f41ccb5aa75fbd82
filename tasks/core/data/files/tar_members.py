"""The members of a tar archive without compression, by their offsets."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from tarfile import TarInfo

FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)


class TarMembers:
    """See `archive.Members`.

    Args:
        path: The archive.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> Iterator[tuple[str, int | None, int, str]]:
        """See `archive.Members.names`.

        Raises:
            tarfile.ReadError: A header is damaged, or the archive has no end. tarfile itself takes both for
                the end of the archive, and the members after it would be lost.
        """
        with tarfile.open(self._path, "r:", encoding="utf-8") as tar:
            end = 0
            while (member := tar.next()) is not None:
                if member.offset < end or member.size < 0:
                    raise tarfile.ReadError("members that overlap")
                end = member.offset_data + (member.size if member.isreg() else 0)
                size = None if member.isdir() else member.size
                yield member.name, size, member.offset_data, _problem(member)
                tar.members.clear()  # type: ignore[attr-defined] # it keeps every member
            if _read(self._path, tar.offset, tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
                raise tarfile.ReadError(f"no header and no end of the archive at byte {tar.offset:,}")

    def read(self, key: int, size: int) -> bytes:
        """See `archive.Members.read`."""
        return _read(self._path, key, size)


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:  # each thread has a position of its own
        file.seek(offset)
        return file.read(size)


def _problem(member: TarInfo) -> str:
    if member.issparse():
        return "that is a sparse file"
    return "" if member.isdir() or member.type in FILES else "that is a link or a device"


def is_old_tar(path: Path) -> bool:
    """Whether it is a tar from before the magic number "ustar", which only its checksums tell."""
    try:
        return tarfile.is_tarfile(path) and path.stat().st_size > 0
    except OSError:
        return False
