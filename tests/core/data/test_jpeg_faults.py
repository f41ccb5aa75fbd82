"""JPEGs with faults that phones and programs make: read as Pillow reads them, or refused as cut off."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from tasks.core.config import Fit
from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.errors import DecodeError
from tests.support.sample_files import encoded, smooth

WHOLE = Target(None, 3, Fit.crop)
SCENE = smooth(256, 320)
JPEG = encoded(SCENE, "JPEG", quality=90)
RESTARTS = encoded(SCENE, "JPEG", quality=90, restart_marker_blocks=16)


def inserted(content: bytes, before: bytes, new: bytes) -> bytes:
    place = content.index(before)
    return content[:place] + new + content[place:]


def samsung() -> bytes:
    """Se of the scan is 0 instead of 63: "Invalid SOS parameters" (WongKinYiu/yolov7#512)."""
    broken, start = bytearray(JPEG), JPEG.index(b"\xff\xda")
    broken[start + 5 + 2 * JPEG[start + 4] + 1] = 0
    return bytes(broken)


def icc(body: bytes) -> bytes:
    return JPEG[:2] + b"\xff\xe2" + struct.pack(">H", 2 + len(body)) + body + JPEG[2:]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(samsung(), id="Samsung's scan"),
        pytest.param(icc(b"ICC_PROFILE\0\x01\x03xxxxxxxxxx"), id="ICC profile that is not complete"),
        pytest.param(JPEG.replace(b"JFIF\0\x01", b"JFIF\0\x03", 1), id="JFIF 3"),
        pytest.param(inserted(JPEG, b"\xff\xdb", b"\0\1\2"), id="stray bytes between segments"),
        pytest.param(inserted(JPEG, b"\xff\xc0", b"\0\0"), id="stray bytes before the frame"),
        pytest.param(inserted(RESTARTS, b"\xff\xd2", b"\x11\x22\x33"), id="stray bytes before a restart"),
        pytest.param(JPEG + b"MotionPhoto" * 100, id="bytes behind the end"),
    ],
)
def test_harmless_faults_give_the_pixels_of_pillow(content: bytes) -> None:
    image, original = decode.decode(content, WHOLE)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert original == (256, 320, 3)
    assert np.abs(image.astype(int) - expected).max() <= 5


@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
@pytest.mark.parametrize("source", [JPEG, samsung(), inserted(RESTARTS, b"\xff\xd2", b"\x11\x22\x33")])
def test_cut_off_files_are_refused_also_after_a_harmless_fault(source: bytes, end: bytes) -> None:
    with pytest.raises(DecodeError, match=r"JPEG|truncated"):
        decode.decode(source[: len(source) * 2 // 5] + end, WHOLE)


def test_orientation_behind_extended_xmp_is_applied() -> None:
    """The case of ianare/exif-py: two full segments of XMP come before EXIF."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(SCENE, "JPEG", quality=90, exif=exif)
    xmp = b"http://ns.adobe.com/xmp/extension/\0"
    segment = b"\xff\xe1\xff\xff" + xmp + b" " * (0xFFFF - 2 - len(xmp))
    turned, original = decode.decode(content[:2] + segment * 2 + content[2:], WHOLE)
    assert original == (320, 256, 3)
    assert np.abs(turned.astype(int) - np.rot90(SCENE, 3).astype(int)).max() < 30


def test_exif_in_pixels_or_comments_is_no_orientation() -> None:
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 8) + b"Exif\0\0II"
    assert decode.decode(JPEG[:2] + comment + JPEG[2:], WHOLE)[1] == (256, 320, 3)
