"""Archives that must not be read, each refused with its reason."""

import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.data.files import archive
from tasks.core.data.files.archive import Archive
from tasks.core.data.readers import factory
from tasks.core.errors import ArchiveError, DataError
from tests.support.image_archives import tarred, two_classes, zipped
from tests.support.sample_files import put

UNSAFE = ["../1.png", "cat/../../1.png", "/cat/1.png", "cat\\1.png", "C:/cat/1.png", "cat//1.png"]
LINKS = {"symlink": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE, "disk": tarfile.BLKTYPE}


def scanned(path: Path) -> list[str]:
    return factory.FILE_FORMATS["archive"].scan(path)["path"].to_pylist()


def info(name: str, mode: int = 0) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.create_system, made.external_attr = 3, mode << 16
    return made


def edited(path: Path, edit: Callable[[bytes], bytes]) -> Path:
    return put(path, edit(path.read_bytes()))


def test_scan_lists_what_a_folder_would_have(tmp_path: Path) -> None:
    assert scanned(zipped(tmp_path / "a.zip", two_classes())) == sorted(two_classes())
    assert scanned(tarred(tmp_path / "a.tar", two_classes())) == sorted(two_classes())


@pytest.mark.parametrize("name", UNSAFE)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_unsafe_name_is_refused_also_if_it_is_hidden(tmp_path: Path, make: Callable, name: str) -> None:
    for member in (name, f"{name.rpartition('/')[0]}/.hidden" if "/" in name else name):
        path = make(tmp_path / "photos", {**two_classes(), member: b"x"})
        with pytest.raises(ArchiveError, match="has a member whose name") as error:
            Archive(path)
        assert repr(member) in error.value.parts["found"]


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o020644, 0o060644, 0o140644])
def test_link_or_device_in_a_zip_is_refused(tmp_path: Path, mode: int) -> None:
    path = zipped(tmp_path / "a.zip", two_classes(), [info("cat/9.png", mode)])
    with pytest.raises(ArchiveError, match="a link or a device"):
        Archive(path)


@pytest.mark.parametrize("kind", LINKS)
def test_link_or_device_in_a_tar_is_refused(tmp_path: Path, kind: str) -> None:
    member = tarfile.TarInfo("cat/9.png")
    member.type, member.linkname = LINKS[kind], "/etc/passwd"
    with pytest.raises(ArchiveError, match="a link or a device"):
        Archive(tarred(tmp_path / "a.tar", two_classes(), [member]))


def test_hidden_link_is_ignored(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", two_classes(), [info(".git/link", 0o120777)])
    assert scanned(path) == sorted(two_classes())


def test_sparse_file_in_a_tar_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("cat/9.png")
    member.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}
    with pytest.raises(ArchiveError, match="a sparse file"):
        Archive(tarred(tmp_path / "a.tar", two_classes(), [member]))


@pytest.mark.parametrize("flag", [0x1, 0x41, 0x2001])
def test_encrypted_zip_is_refused(tmp_path: Path, flag: int) -> None:
    made = info("cat/9.png")
    made.flag_bits = flag
    path = zipped(tmp_path / "a.zip", two_classes(), [made])

    def set_flag(content: bytes) -> bytes:  # zipfile clears it; it is at byte 8 of the last central header
        at = content.rfind(b"PK\x01\x02") + 8
        return content[:at] + struct.pack("<H", flag) + content[at + 2 :]

    with pytest.raises(ArchiveError, match="that is encrypted"):
        Archive(edited(path, set_flag))


def test_zip_member_with_another_compression_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("cat/1.png", b"x")
    with pytest.raises(ArchiveError, match="compressed with method 14"):
        Archive(path)


@pytest.mark.parametrize("make", [zipped, tarred])
def test_name_twice_is_refused(tmp_path: Path, make: Callable) -> None:
    extra = info("cat/0.png") if make is zipped else tarfile.TarInfo("./cat/0.png")
    with pytest.warns(UserWarning) if make is zipped else pytest.raises(DataError):  # zipfile warns
        Archive(make(tmp_path / "a", two_classes(), [extra]))
        raise AssertionError
