"""What files are by their first bytes. The bytes are those that Pillow, pillow-heif and Python write."""

import wave
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from tasks.core.data import file_types
from tests.support.sample_files import encoded, heic, noise

WRITTEN_BY_PILLOW = {
    **{"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif"},
    **{"MPO": ".mpo", "AVIF": ".avif", "JPEG2000": ".jp2", "PPM": ".ppm"},
}


@pytest.mark.parametrize("image_format", WRITTEN_BY_PILLOW)
def test_by_content_and_by_suffix_images_of_pillow_are_images(image_format: str) -> None:
    content = encoded(noise(1, 16, 16), image_format)
    assert file_types.by_content(content[: file_types.HEAD]).is_image
    assert file_types.claims_to_be_image(f"x{WRITTEN_BY_PILLOW[image_format].upper()}")


def test_by_content_knows_codestreams_and_heic() -> None:
    codestream = encoded(noise(1, 16, 16), "JPEG2000", no_jp2=True)
    assert file_types.by_content(codestream).is_image
    assert file_types.by_content(heic(noise(1, 16, 16))) is file_types.HEIF


def test_suffixes_of_the_plugins_are_known() -> None:
    """pillow-heif's own list of suffixes, and Pillow's of each format."""
    plugin = {suffix for suffix, name in Image.registered_extensions().items() if name == "HEIF"}
    assert {".heic", ".heif", ".hif"} | plugin <= file_types.HEIF_SUFFIXES
    formats = {suffix: name for suffix, name in Image.registered_extensions().items() if name != "HEIF"}
    assert {formats[suffix] for suffix in file_types.PILLOW_SUFFIXES} <= {*WRITTEN_BY_PILLOW, "DIB"}


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video (MP4)"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2", "a video (MP4)"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video (QuickTime)"),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "a video (QuickTime)"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0M4A mp42", "a sound"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera's raw file"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf", "HEIC"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf", "AVIF"),
        (b"\0\0\0\x1cftypMiHE\0\0\0\0MiHEmif1heic", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa\x1f", "JPEG XL"),
        (b"RIFF\x24\x10\0\0AVI LIST", "a video (AVI)"),
        (b"\x1aE\xdf\xa3\x9fB\x86\x81", "a video (Matroska or WebM)"),
        (b"%PDF-1.7", "a document (PDF)"),
        (b"BM is short for bitmap, says this text", "a text"),
        (b"P3 is a group, says this note", "a text"),
        (("x" * 31 + "é").encode(), "a text"),  # cut within the last character
        ("Grüße aus München".encode("latin-1"), "of an unknown type"),
        ("wide notes".encode("utf-16"), "a text"),
        (b"a\0b", "of an unknown type"),
        (b"", "an empty file"),
    ],
)
def test_by_content_names_other_files(head: bytes, name: str) -> None:
    assert file_types.by_content(head[: file_types.HEAD]).name == name


def test_by_content_names_files_that_python_writes(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(100))
    with zipfile.ZipFile(tmp_path / "b", "w") as archive:
        archive.writestr("x", "y")
    heads = [file_types.read_head(str(tmp_path / name)) for name in "ab"]
    assert [len(head) for head in heads] == [file_types.HEAD] * 2
    assert [file_types.by_content(head).name for head in heads] == ["a sound", "an archive"]


@pytest.mark.parametrize(
    ("name", "head", "said"),
    [
        ("scan.dcm", bytes(32), "DICOM"),
        ("x.tga", b"\0\0\2" + bytes(20), "TGA"),
        ("x.npy", b"\x93NUMPY\1\0v\0", "NumPy"),
        ("x.ico", b"\0\0\1\0\1\0", "ICO"),
        ("x", bytes(32), "unknown type"),
    ],
)
def test_images_that_are_not_read_are_named(name: str, head: bytes, said: str) -> None:
    assert said in file_types.reason_of(name, lambda: head)
