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
LINKS = {
    "symlink": tarfile.SYMTYPE,
    "hard link": tarfile.LNKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "disk": tarfile.BLKTYPE,
}


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


def test_kind_follows_from_the_content_and_not_from_the_name(tmp_path: Path) -> None:
    assert scanned(zipped(tmp_path / "a.tar", two_classes())) == sorted(two_classes())
    assert scanned(tarred(tmp_path / "a.zip", two_classes())) == sorted(two_classes())


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


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("make", [zipped, tarred])
def test_name_twice_is_refused(tmp_path: Path, make: Callable) -> None:
    extra = info("cat/0.png") if make is zipped else tarfile.TarInfo("./cat/0.png")
    with pytest.raises(DataError, match="has a name twice"):
        Archive(make(tmp_path / "a", two_classes(), [extra]))


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize("name", ["cat/0.png/1.png", "cat"])
def test_name_of_a_file_and_of_a_folder_is_refused(tmp_path: Path, make: Callable, name: str) -> None:
    with pytest.raises(DataError, match=r"has a name (twice|as a file and as a folder)"):
        Archive(make(tmp_path / "a", {**two_classes(), name: b"x"}))


def test_zip_names_are_utf8_with_and_without_the_flag(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", two_classes() | {"猫/Zürich.png": b"x"})
    assert "猫/Zürich.png" in scanned(path)

    def without_flag(content: bytes) -> bytes:
        return content.replace(b"\x14\x00\x00\x08\x08\x00", b"\x14\x00\x00\x00\x08\x00")

    before = path.read_bytes()
    assert edited(path, without_flag).read_bytes() != before
    assert "猫/Zürich.png" in scanned(path)
    assert Archive(path).read("猫/Zürich.png", 1) == b"x"


def test_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", two_classes() | {"cat/Z_rich.png": b"x"})
    with pytest.raises(ArchiveError, match="not UTF-8") as error:
        Archive(edited(path, lambda content: content.replace(b"Z_rich", b"Z\xfcrich")))
    assert "Z\\xfcrich" in error.value.parts["found"]
    tar = tarred(tmp_path / "a.tar", two_classes() | {os.fsdecode(b"cat/Z\xfcrich.png"): b"x"})
    with pytest.raises(ArchiveError, match="not UTF-8"):
        Archive(tar)


def test_zip_with_a_changed_byte_is_refused_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as packed:
        packed.writestr("cat/1.png", b"abcdef")
    opened = Archive(edited(path, lambda content: content.replace(b"abcdef", b"abcdeg")))
    with pytest.raises(ArchiveError, match=r"has cat/1\.png, which cannot be read") as error:
        opened.read("cat/1.png", 6)
    assert "CRC" in error.value.parts["found"]


@pytest.mark.parametrize("declared", [3, 5, 7, 4000])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_member_of_another_size_than_declared_is_refused(
    tmp_path: Path, declared: int, method: int
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", method) as packed:
        packed.writestr("cat/1.png", b"abcdef")

    def declare(content: bytes) -> bytes:  # the size is at byte 24 of the central header
        at = content.index(b"PK\x01\x02") + 24
        return content[:at] + struct.pack("<I", declared) + content[at + 4 :]

    with pytest.raises(ArchiveError, match=r"two sizes|wrong size|cannot be read"):
        Archive(edited(path, declare)).read("cat/1.png", declared)


def test_size_that_is_not_the_listed_one_is_refused(tmp_path: Path) -> None:
    opened = Archive(tarred(tmp_path / "a.tar", two_classes()))
    for name, size in (("cat/0.png", 1), ("cat/none.png", 9)):
        with pytest.raises(ArchiveError, match=f"has no {name}"):
            opened.read(name, size)


@pytest.mark.slow
def test_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """280 MB of zeros in 0.3 MB."""
    path = zipped(tmp_path / "a.zip", {"cat/1.png": bytes(280 << 20), "dog/1.png": b"x"})
    with pytest.raises(ArchiveError, match="unpacks to too much") as error:
        scanned(path)
    assert "293,601,281 bytes" in error.value.parts["found"]


@pytest.mark.parametrize("make", [zipped, tarred])
def test_member_larger_than_any_image_is_refused(tmp_path: Path, make: Callable) -> None:
    """The size in the header counts, so a sparse file stands for the content."""
    size = archive.MAX_MEMBER_BYTES + 1
    path = make(tmp_path / "a", two_classes())
    if make is zipped:
        at = path.read_bytes().index(b"PK\x01\x02") + 24
        edited(path, lambda content: content[:at] + struct.pack("<I", size) + content[at + 4 :])
    else:
        with tarfile.open(path, "w") as packed, (tmp_path / "large").open("wb") as large:
            large.truncate(size)
            packed.fileobj.write(_header("cat/1.png", size))
            packed.fileobj.seek(-size % 512 + size, os.SEEK_CUR)
            packed.offset = packed.fileobj.tell()
            packed.addfile(tarfile.TarInfo("dog/1.png"))
    with pytest.raises(ArchiveError, match="a member that is too large") as error:
        scanned(path)
    assert f"{size:,} bytes" in error.value.parts["found"]


def _header(name: str, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf()


def test_tar_with_a_damaged_header_loses_nothing_silently(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", two_classes())
    at = path.read_bytes().index(b"dog/1.png")
    with pytest.raises(ArchiveError, match="cannot be read") as error:
        Archive(edited(path, lambda content: content[:at] + b"X" + content[at + 1 :]))
    assert f"at byte {at:,}" in error.value.parts["found"]


def test_tar_that_ends_after_a_member_is_refused(tmp_path: Path) -> None:
    path = tarred(tmp_path / "a.tar", two_classes())
    at = path.read_bytes().index(b"dog/1.png")
    with pytest.raises(ArchiveError, match="cannot be read"):
        Archive(edited(path, lambda content: content[:at]))


def test_tar_with_a_negative_size_is_refused(tmp_path: Path) -> None:
    """tarfile 3.11.7 would read the same header for ever."""
    path = tarred(tmp_path / "a.tar", {"cat/1.png": b"x", "cat/2.png": b"y"})
    with pytest.raises(ArchiveError):
        Archive(edited(path, lambda content: _header("cat/1.png", -1024) + content[512:]))


def test_old_tar_without_magic_number_is_read(tmp_path: Path) -> None:
    header = bytearray(_header("cat/1.png", 1))
    header[148:156], header[257:500] = b" " * 8, bytes(243)
    header[148:156] = b"%06o\0 " % sum(header)
    path = put(tmp_path / "a.tar", bytes(header) + b"x".ljust(512, b"\0") + bytes(1024))
    assert Archive(path).read("cat/1.png", 1) == b"x"
