"""How `decode` resizes images: the crop, the antialiasing and the DCT scale of JPEGs."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from tasks.core.data import decode
from tasks.core.data.decode import Target
from tests.support.sample_files import encoded, noise, smooth


def pixels(content: bytes, target: Target) -> NDArray[np.uint8]:
    return decode.decode(content, target)[0]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (64, 100), (100, 64), (33, 32), (20, 20), (9, 200)])
def test_decode_resizing_equals_pillows_bilinear_on_the_centre(height: int, width: int) -> None:
    image = noise(10, height, width)
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    expected = Image.fromarray(image).resize(
        (32, 32), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side)
    )
    assert np.array_equal(pixels(encoded(image), Target((32, 32), 3)), np.asarray(expected))


@pytest.mark.parametrize(("height", "width", "side"), [(29, 39, 28), (39, 29, 28), (1019, 1359, 224)])
def test_decode_crop_box_never_exceeds_the_image(height: int, width: int, side: int) -> None:
    """28 times 29 / 28 exceeds 29 in floating point, which once moved the crop box outside the image."""
    image = np.full((height, width, 3), 77, np.uint8)
    assert np.array_equal(pixels(encoded(image), Target((side, side), 3)), image[:side, :side])


@settings(deadline=None)
@given(st.integers(4, 700), st.integers(4, 700), st.integers(8, 224), st.integers(8, 224))
def test_resize_and_convert_any_size_to_any_other(height: int, width: int, down: int, across: int) -> None:
    image = np.full((height, width, 1), 77, np.uint8)
    assert np.array_equal(
        decode.resize_and_convert(image, Target((down, across), 1)), np.full((down, across, 1), 77)
    )


def test_decode_resizing_covers_every_source_pixel() -> None:
    """A one-pixel checkerboard becomes even grey; picking single pixels would give stripes or black."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = pixels(encoded(board), Target((16, 16), 1))
    assert np.abs(small.astype(int) - 127.5).max() < 2


def test_decode_scaled_jpeg_is_close_to_a_full_decode() -> None:
    """2,400 x 1,600 to 32 x 32 is decoded at 1/8; the reference is the full decode, resized by Pillow."""
    scene = Image.fromarray(smooth(1600, 2400))
    content = encoded(scene, "JPEG", quality=92)
    full_image = Image.open(io.BytesIO(content)).convert("RGB")
    expected = np.asarray(full_image.resize((32, 32), Image.Resampling.BILINEAR, box=(400, 0, 2000, 1600)))
    difference = pixels(content, Target((32, 32), 3)).astype(int) - expected
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize(
    ("height", "width", "decoded"), [(768, 1024, (384, 512)), (480, 640, (480, 640)), (336, 448, (336, 448))]
)
def test_decode_scaled_jpeg_keeps_1_5_times_the_target(
    height: int, width: int, decoded: tuple[int, int]
) -> None:
    """1,024 x 768 for 224 is halved. 640 x 480 is not, since half of it is less than 336, 1.5 times 224."""
    content = encoded(smooth(height, width), "JPEG", quality=92)
    image = Image.open(io.BytesIO(content)).convert("RGB")
    if decoded != (height, width):
        # A halved DCT gives approximately the mean of 2 x 2 pixels.
        image = image.reduce(height // decoded[0])
    left = (decoded[1] - decoded[0]) / 2
    box = (left, 0, left + decoded[0], decoded[0])
    expected = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR, box=box)).astype(int)
    assert np.abs(pixels(content, Target((224, 224), 3)) - expected).max() <= (3 if decoded[0] == 384 else 0)
