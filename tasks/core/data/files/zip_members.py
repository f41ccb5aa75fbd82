"""The members of a zip archive."""

import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipInfo

# bzip2 and LZMA members are refused: zipfile does not bound how much a piece of them unpacks to.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 0x1 | 0x40 | 0x2000  # encrypted, strongly encrypted, encrypted directory (APPNOTE.TXT, 4.4.4)


class ZipMembers:
    """See `archive.Members`.

    Names without the flag for UTF-8 must be UTF-8 nevertheless, as Info-ZIP and macOS write them.

    Args:
        path: The archive.
    """

    def __init__(self, path: Path) -> None:
        self._zip = zipfile.ZipFile(path, metadata_encoding="utf-8")

    def names(self) -> Iterator[tuple[str, int | None, ZipInfo, str]]:
        """See `archive.Members.names`."""
        for info in self._zip.infolist():
            name = info.orig_filename  # `filename` ends at a zero byte
            yield name, None if name.endswith("/") else info.file_size, info, _problem(info)

    def read(self, key: ZipInfo, size: int) -> bytes:
        """See `archive.Members.read`. zipfile compares the checksum when the last byte is read."""
        with self._zip.open(key) as file:
            return file.read(size + 1)


def _problem(info: ZipInfo) -> str:
    file_type = stat.S_IFMT(info.external_attr >> 16)
    if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "that is a link or a device"
    if info.flag_bits & ENCRYPTED:
        return "that is encrypted"
    if info.compress_type not in METHODS:
        return (
            f"that is compressed with method {info.compress_type}, not with deflate ({zipfile.ZIP_DEFLATED})"
        )
    if info.compress_type == zipfile.ZIP_STORED and info.compress_size != info.file_size:
        return "that declares two sizes"
    return ""
