"""What phones write besides JPEG: HEIC, AVIF, MPO. And how a refusal names what is not decoded."""

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.errors import DecodeError
from tests.core.data.test_decode import STORED, exif
from tests.support.sample_files import encoded, heic, noise, smooth

AS_IT_IS = Target(None, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_heic_is_turned_once(orientation: int) -> None:
    """pillow-heif turns the pixels itself and leaves an EXIF orientation of 1."""
    scene = smooth(24, 40)
    content = heic(np.ascontiguousarray(STORED[orientation](scene)), orientation)
    image, original = decode.decode(content, AS_IT_IS)
    assert original == (24, 40, 3)
    assert np.abs(image.astype(int) - scene.astype(int)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_avif_is_turned_once(orientation: int) -> None:
    scene = smooth(24, 40)
    stored = np.ascontiguousarray(STORED[orientation](scene))
    image, original = decode.decode(
        encoded(stored, "AVIF", quality=100, subsampling="4:4:4", exif=exif(orientation)), AS_IT_IS
    )
    assert original == (24, 40, 3)
    assert np.abs(image.astype(int) - scene.astype(int)).mean() < 2


def test_decode_heic_with_alpha_is_laid_over_white() -> None:
    pixels = np.zeros((16, 16, 4), np.uint8)  # black, and transparent
    assert decode.decode(heic(pixels), AS_IT_IS)[0].min() >= 253


@pytest.mark.parametrize("options", [{}, {"no_jp2": True}])
def test_decode_jpeg_2000_is_read(options: dict[str, object]) -> None:
    image = noise(1, 20, 30)
    assert np.array_equal(decode.decode(encoded(image, "JPEG2000", **options), AS_IT_IS)[0], image)


@pytest.mark.parametrize("orientation", [1, 6])
def test_decode_mpo_is_its_first_image(orientation: int) -> None:
    """The second one is the other eye's view, or the depth, of a stereo camera or a phone."""
    scene = smooth(24, 40)
    first = Image.fromarray(np.ascontiguousarray(STORED[orientation](scene)))
    second = Image.fromarray(noise(1, 24, 40))
    content = encoded(first, "MPO", save_all=True, append_images=[second], quality=95, exif=exif(orientation))
    with Image.open(io.BytesIO(content)) as opened:
        assert (opened.format, opened.n_frames) == ("MPO", 2)
    image, original = decode.decode(content, AS_IT_IS)
    assert original == (24, 40, 3)
    assert np.abs(image.astype(int) - scene.astype(int)).mean() < 3


def test_decode_portable_pixmap_is_read() -> None:
    image = noise(1, 20, 30)
    assert np.array_equal(decode.decode(encoded(image, "PPM"), AS_IT_IS)[0], image)


def test_decode_heic_without_its_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    content = heic(noise(1))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)  # as if it were not installed
    with pytest.raises(DecodeError, match=r"HEIC: pip install -e '\.\[heif\]' to read it"):
        decode.decode(content, AS_IT_IS)


def test_decode_of_other_formats_does_not_import_pillow_heif() -> None:
    code = (
        "import sys, io; from PIL import Image; from tasks.core.data import decode\n"
        "file = io.BytesIO(); Image.new('RGB', (9, 9)).save(file, 'PNG')\n"
        "decode.decode(file.getvalue(), decode.Target(None, 3)); print('pillow_heif' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video (MP4): not an image"),
        (
            b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40),
            "JPEG XL: Pillow does not read it; export it as JPEG or PNG",
        ),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "a camera's raw file: export it as JPEG or PNG"),
        (b"some notes", "a text: not an image"),
        (b"\1\2\3", "not an image"),
    ],
)
def test_decode_refusal_says_what_the_file_is(content: bytes, reason: str) -> None:
    with pytest.raises(DecodeError) as error:
        decode.decode(content, AS_IT_IS)
    assert error.value.summary == reason


def test_decode_damaged_heic_is_refused() -> None:
    content = heic(noise(1))
    for damaged in (content[: len(content) // 2], content[:40], content[:-400] + bytes(400)):
        with pytest.raises(DecodeError):
            decode.decode(damaged, AS_IT_IS)


def test_decode_preview_of_a_raw_file_is_refused() -> None:
    """DNG, NEF and ARW are TIFF files whose first image is a small preview (TIFF 6.0, tag 254)."""
    preview = encoded(noise(1), "TIFF", tiffinfo={254: 1})
    with pytest.raises(DecodeError, match="a camera's raw file"):
        decode.decode(preview, AS_IT_IS)
