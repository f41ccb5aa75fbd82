"""Every format that `decode` documents and every file that it refuses. Expected pixels: by hand or Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.errors import DecodeError
from tests.support.sample_files import encoded, noise, smooth

AS_IT_IS = Target(None, 3)
GREY = Target(None, 1)
# What a camera stored for the same scene, by EXIF orientation (JEITA CP-3451, tag 0x0112): the rows and
# columns of the stored array say where the scene's top and left are.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[::-1],
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
}


def pixels(content: bytes, target: Target = AS_IT_IS) -> NDArray[np.uint8]:
    return decode.decode(content, target)[0]


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.mark.parametrize(
    ("image_format", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_decode_lossless_format_returns_the_pixels(image_format: str, options: dict[str, object]) -> None:
    image = noise(1, 20, 30)
    assert np.array_equal(pixels(encoded(image, image_format, **options)), image)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}])
def test_decode_jpeg_equals_pillow(options: dict[str, object]) -> None:
    content = encoded(smooth(40, 60), "JPEG", **options)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    # Pillow and simplejpeg have different builds of libjpeg-turbo.
    assert np.abs(pixels(content).astype(int) - expected).max() <= 2


def test_decode_gif_returns_the_first_frame() -> None:
    red, blue = Image.new("RGB", (9, 8), (255, 0, 0)), Image.new("RGB", (9, 8), (0, 0, 255))
    content = encoded(red, "GIF", save_all=True, append_images=[blue], duration=50)
    assert np.array_equal(pixels(content), np.asarray(red))


@pytest.mark.parametrize("image_format", ["WEBP", "PNG"])
def test_decode_animation_returns_the_first_frame(image_format: str) -> None:
    red, blue = Image.new("RGB", (9, 8), (255, 0, 0)), Image.new("RGB", (9, 8), (0, 0, 255))
    content = encoded(red, image_format, save_all=True, append_images=[blue], lossless=True)
    assert np.array_equal(pixels(content), np.asarray(red))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_decode_applies_exif_orientation(orientation: int, image_format: str) -> None:
    scene = smooth(24, 40)
    stored = np.ascontiguousarray(STORED[orientation](scene))
    lossless = {"lossless": True} if image_format == "WEBP" else {}
    content = encoded(stored, image_format, exif=exif(orientation), **lossless)
    image, original = decode.decode(content, AS_IT_IS)
    assert original == (24, 40, 3)
    difference = np.abs(image.astype(int) - scene.astype(int))
    assert difference.mean() < (3 if image_format == "JPEG" else 1e-9)


@pytest.mark.parametrize("orientation", [3, 6])
def test_decode_rotated_jpeg_is_scaled_like_an_upright_one(orientation: int) -> None:
    """DCT scaling happens before the rotation, so that height and width must be swapped."""
    scene = smooth(400, 640)
    turned = encoded(
        np.ascontiguousarray(STORED[orientation](scene)), "JPEG", quality=95, exif=exif(orientation)
    )
    upright = encoded(scene, "JPEG", quality=95)
    target = Target((16, 32), 3)
    difference = pixels(turned, target).astype(int) - pixels(upright, target).astype(int)
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_decode_invalid_orientation_is_ignored(orientation: int) -> None:
    image = noise(2, 10, 12)
    assert np.array_equal(pixels(encoded(image, "PNG", exif=exif(orientation))), image)
    assert pixels(encoded(image, "JPEG", exif=exif(orientation))).shape == (10, 12, 3)


def test_decode_damaged_exif_is_ignored() -> None:
    content = encoded(smooth(16, 16), "JPEG", exif=exif(6))
    broken = content.replace(b"Exif\0\0MM", b"Exif\0\0\xff\xff").replace(b"Exif\0\0II", b"Exif\0\0\xff\xff")
    assert broken != content
    assert pixels(broken).shape == (16, 16, 3)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "BMP"])
def test_decode_grey_image_keeps_one_channel(image_format: str) -> None:
    image = np.tile(np.arange(0, 160, 8, np.uint8), (16, 1))
    grey, original = decode.decode(encoded(image, image_format), GREY)
    assert original == (16, 20, 1)
    assert grey.shape == (16, 20, 1)
    assert np.abs(grey[:, :, 0].astype(int) - image).max() <= (4 if image_format == "JPEG" else 0)
    assert np.array_equal(pixels(encoded(image, image_format)), np.repeat(grey, 3, axis=2))


def test_decode_black_and_white_image() -> None:
    image = Image.fromarray(noise(3, 8, 8, 1)).point(lambda value: 255 * (value > 127)).convert("1")
    assert np.array_equal(pixels(encoded(image), GREY)[:, :, 0], np.asarray(image.convert("L")))


def test_decode_colour_for_a_grey_dataset_is_luma() -> None:
    """ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B."""
    image = noise(4, 12, 12)
    luma = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(pixels(encoded(image), GREY)[:, :, 0] - luma).max() <= 1


def test_decode_palette_becomes_rgb() -> None:
    image = Image.fromarray(noise(5, 16, 16)).quantize(16)
    assert np.array_equal(pixels(encoded(image)), np.asarray(image.convert("RGB")))


def test_decode_transparent_pixels_are_composited_over_white() -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[..., 0], rgba[..., 3] = 200, np.arange(16).reshape(4, 4) * 17
    alpha = rgba[..., 3] / 255
    expected = np.stack([200 * alpha + 255 * (1 - alpha), 255 * (1 - alpha), 255 * (1 - alpha)], axis=2)
    for image_format, options in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True})):
        assert np.abs(pixels(encoded(rgba, image_format, **options)) - expected).max() <= 1


def test_decode_grey_with_alpha_stays_grey_over_white() -> None:
    grey_alpha = Image.fromarray(
        np.dstack([np.full((5, 5), 100, np.uint8), np.full((5, 5), 51, np.uint8)]), "LA"
    )
    image, original = decode.decode(encoded(grey_alpha), GREY)
    assert original[2] == 1
    assert set(np.unique(image)) <= {223, 224}  # 100 * 0.2 + 255 * 0.8 = 224


def test_decode_transparent_palette_colour_is_composited_over_white() -> None:
    image = Image.new("P", (6, 6), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.paste(1, (0, 0, 3, 6))
    result = pixels(encoded(image, "PNG", transparency=0))
    assert np.array_equal(result[:, :3], np.full((6, 3, 3), (200, 100, 50)))
    assert np.array_equal(result[:, 3:], np.full((6, 3, 3), 255))


def test_decode_cmyk_becomes_rgb() -> None:
    """Pillow's conversion: R = 255 - min(255, C + K)-like; the reference is Pillow's own."""
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), value) for value in (0, 255, 255, 0)])
    content = encoded(cmyk, "JPEG", quality=95)
    red = pixels(content).reshape(-1, 3).mean(axis=0)
    assert red == pytest.approx([254, 0, 0], abs=4)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(pixels(content), expected)


def test_decode_16_bit_grey_is_divided_by_257() -> None:
    wide = np.array([[0, 128, 129, 257], [65535, 65406, 32768, 40000]] * 2, np.uint16)
    expected = np.rint(wide / 257).astype(np.uint8)
    for image_format in ("PNG", "TIFF"):
        image, original = decode.decode(encoded(Image.fromarray(wide), image_format), GREY)
        assert original == (4, 4, 1)
        assert np.array_equal(image[:, :, 0], expected)


def test_decode_16_bit_colour_keeps_its_upper_byte() -> None:
    wide = np.random.default_rng(6).integers(0, 65536, (5, 4, 3), dtype=np.uint16)
    assert np.array_equal(pixels(png16(wide)), (wide >> 8).astype(np.uint8))


def png16(wide: NDArray[np.uint16]) -> bytes:
    """A 16-bit RGB PNG (ISO/IEC 15948), which Pillow cannot write."""
    height, width = wide.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_decode_floating_point_pixels_are_refused() -> None:
    content = encoded(Image.fromarray(np.random.default_rng(0).random((8, 8)).astype(np.float32)), "TIFF")
    with pytest.raises(DecodeError, match="floating-point"):
        pixels(content)


@pytest.mark.parametrize(
    ("image_format", "keep"), [("JPEG", 0.6), ("PNG", 0.6), ("WEBP", 0.5), ("GIF", 0.4), ("BMP", 0.5)]
)
def test_decode_truncated_file_is_refused(image_format: str, keep: float) -> None:
    content = encoded(noise(7, 64, 64), image_format)
    with pytest.raises(DecodeError):
        pixels(content[: int(len(content) * keep)])


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\xff\xd8", b"\xff\xd8\xff\xe0", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n"]
)
def test_decode_other_content_is_refused(content: bytes) -> None:
    with pytest.raises(DecodeError):
        pixels(content)


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "GIF"])
@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 3)])
def test_decode_tiny_image_is_refused(image_format: str, size: tuple[int, int]) -> None:
    with pytest.raises(DecodeError, match=f"tiny: {size[1]}x{size[0]} pixels"):
        pixels(encoded(noise(8, *size), image_format))


def test_decode_smallest_allowed_image() -> None:
    assert pixels(encoded(noise(8, 4, 4))).shape == (4, 4, 3)


def test_decode_decompression_bomb_is_refused_by_its_header() -> None:
    """20 kB that decompress to 400 million pixels."""
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    body = zlib.compress(b"\0" * 20_000_000, 9)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    with pytest.raises(DecodeError, match="over-sized: more than 178,956,970 pixels"):
        pixels(bomb)


def test_decode_over_sized_jpeg_is_refused_by_its_header() -> None:
    content = bytearray(encoded(noise(9, 16, 16), "JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    with pytest.raises(DecodeError, match="over-sized: 60000x60000 pixels"):
        pixels(bytes(content))


def test_decode_jpeg_with_extraneous_bytes_is_read() -> None:
    """Some cameras add padding: libjpeg warns of "extraneous bytes before marker", the pixels are intact."""
    content = encoded(smooth(32, 32), "JPEG", quality=95)
    end = content.rindex(b"\xff\xd9")
    padded = content[:end] + b"\0" * 7 + content[end:]
    assert np.array_equal(pixels(padded), pixels(content))
