"""How `decode` makes an image of other proportions fit: crop, pad and stretch."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tasks.core.config import Fit
from tasks.core.data import decode
from tasks.core.data.decode import Target
from tasks.core.errors import FormatError
from tests.support.sample_files import encoded, noise, smooth

BILINEAR = Image.Resampling.BILINEAR


def test_fit_pad_equals_pillows_pad() -> None:
    for number, (height, width) in enumerate([(64, 32), (24, 32), (100, 50), (16, 64), (33, 33)]):
        image = noise(number, height, width)
        expected = ImageOps.pad(Image.fromarray(image), (32, 32), BILINEAR, color=0)
        padded = decode.decode(encoded(image), Target((32, 32), 3, Fit.pad))[0]
        assert np.array_equal(padded, np.asarray(expected))


def test_fit_pad_odd_rest_is_black_and_the_larger_part_is_at_the_end() -> None:
    """5 rows of 8 become 5 of 8: 3 rows are left, 1 above and 2 below."""
    image = np.full((5, 8, 1), 200, np.uint8)
    expected = np.zeros((8, 8, 1), np.uint8)
    expected[1:6] = 200
    assert np.array_equal(decode.resize_and_convert(image, Target((8, 8), 1, Fit.pad)), expected)


@pytest.mark.parametrize(("height", "width"), [(64, 32), (9, 200), (20, 31)])
def test_fit_stretch_equals_pillows_resize(height: int, width: int) -> None:
    image = noise(3, height, width)
    expected = Image.fromarray(image).resize((48, 32), BILINEAR)
    stretched = decode.decode(encoded(image), Target((32, 48), 3, Fit.stretch))[0]
    assert np.array_equal(stretched, np.asarray(expected))


@settings(deadline=None)
@given(*[st.integers(4, 700)] * 2, *[st.integers(8, 224)] * 2, st.sampled_from(Fit))
def test_fit_any_size_to_any_other(height: int, width: int, down: int, across: int, fit: Fit) -> None:
    image = np.full((height, width, 1), 77, np.uint8)
    fitted = decode.resize_and_convert(image, Target((down, across), 1, fit))
    assert fitted.shape == (down, across, 1)
    assert set(np.unique(fitted)) <= ({0, 77} if fit is Fit.pad else {77})
    rows, columns = np.nonzero(fitted[:, :, 0])
    assert (np.ptp(rows) + 1 == down) or (np.ptp(columns) + 1 == across)


@pytest.mark.parametrize("fit", Fit)
def test_fit_of_a_square_image_makes_no_difference(fit: Fit) -> None:
    image = noise(4, 50, 50)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), BILINEAR))
    assert np.array_equal(decode.resize_and_convert(image, Target((32, 32), 3, fit)), expected)


@pytest.mark.parametrize(
    ("fit", "turned", "scale"),
    [
        pytest.param(Fit.crop, False, 1, id="crop: 152 rows are over 1.5 times 96, half of them are not"),
        pytest.param(Fit.stretch, False, 1, id="stretch: the same rows are scaled to 96"),
        pytest.param(Fit.pad, False, 4, id="pad: 152 rows are scaled to 24, so a quarter is enough"),
        pytest.param(Fit.pad, True, 4, id="pad: turned by its EXIF orientation"),
    ],
)
def test_fit_scaled_jpeg_keeps_1_5_times_the_pixels_needed(fit: Fit, turned: bool, scale: int) -> None:
    """608 x 152 to 96 x 96; the reference has the mean of `scale` times `scale` pixels."""
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    content = encoded(smooth(152, 608), "JPEG", quality=95, exif=exif)
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB").reduce(scale)
    expected = decode.resize_and_convert(np.asarray(image), Target((96, 96), 3, fit)).astype(int)
    found, original = decode.decode(content, Target((96, 96), 3, fit))
    assert original == ((608, 152, 3) if turned else (152, 608, 3))
    assert np.abs(found - expected).max() <= (0 if scale == 1 else 3)


def test_fit_pad_of_a_scaled_jpeg_has_the_edges_of_the_whole_image() -> None:
    """24 * 226 / 995 is 5.45, so 5 rows. The JPEG is decoded at 1/8, to 125 x 29, which would give 5.57."""
    content = encoded(np.full((226, 995, 3), 200, np.uint8), "JPEG", quality=95)
    padded = decode.decode(content, Target((24, 24), 3, Fit.pad))[0]
    assert (padded.max(axis=(1, 2)) > 100).sum() == 5


@pytest.mark.parametrize(
    ("fit", "least"), [(Fit.crop, (48, 72)), (Fit.stretch, (48, 72)), (Fit.pad, (48, 48))]
)
def test_min_decode_size_is_1_5_times_what_the_image_is_scaled_to(fit: Fit, least: tuple[int, int]) -> None:
    """A square image in 32 x 48 is padded from 32 x 32."""
    assert Target((32, 48), 3, fit).min_decode_size(500, 500) == least


def test_fit_of_a_manifest() -> None:
    assert Fit.of({}) is Fit.crop
    assert Fit.of({"fit": "pad"}) is Fit.pad
    with pytest.raises(FormatError, match="crop, pad, stretch"):
        Fit.of({"fit": "tile"})
