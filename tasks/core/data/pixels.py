"""Pixels as uint8 arrays: those of an image that Pillow has opened (rules 3 and 4 of `decode`), and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.core.errors import DecodeError

Pixels = NDArray[np.uint8]

ROWS = 64  # of a 16-bit image that are converted at a time
GREY_16 = {"I;16", "I;16L", "I;16B", "I;16N", "I"}
WITH_ALPHA = {"RGBA", "LA", "PA", "La", "RGBa"}
MAX_GREY_BITS = 16
EIGHT = 8  # bits of most images
GREY_BITS = (EIGHT, 10, 12, 14, MAX_GREY_BITS)
TOO_MANY_BITS = "grey values that need {} bits"


def as_pixels(image: Image.Image, grey_bits: int) -> Pixels:
    """The pixels of an open image.

    Args:
        image: An upright image of any mode.
        grey_bits: Bits of the grey values of images that have more than 8.

    Returns:
        uint8 (H, W, C), C = 1 or 3.

    Raises:
        DecodeError: Its values cannot be brought to 0..255.
    """
    if image.mode in GREY_16:
        return _scaled_grey(np.asarray(image), grey_bits)
    if image.mode == "F":
        raise DecodeError("floating-point pixels, whose white is unknown")
    if image.mode in WITH_ALPHA or "transparency" in image.info:
        return _over_white(image)
    mode = "L" if image.mode in ("1", "L") else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], -1)


def as_picture(pixels: Pixels) -> Image.Image:
    """A grey or an RGB image of uint8 (H, W, C), C = 1 or 3."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _scaled_grey(wide: NDArray[np.integer[Any]], grey_bits: int) -> Pixels:
    """Grey values (H, W) of more than 8 bits as uint8 (H, W, 1); rule 4."""
    low, high = int(wide.min()), int(wide.max())
    if low < 0:
        raise DecodeError(
            f"negative grey values, from {low} to {high}: add {-low} to all images, or export as 8 bits"
        )
    if high >= 1 << MAX_GREY_BITS:
        raise DecodeError("grey values beyond 16 bits")
    needed = next(bits for bits in GREY_BITS if high < 1 << bits)
    if needed > grey_bits:
        raise DecodeError(
            f"{TOO_MANY_BITS.format(needed)}: the images of the model have {grey_bits or EIGHT}"
        )
    white = (1 << grey_bits) - 1
    grey = np.empty((*wide.shape, 1), np.uint8)
    for top in range(0, len(wide), ROWS):  # wider numbers of a whole image would take four times its memory
        rows = wide[top : top + ROWS].astype(np.int64)
        grey[top : top + ROWS, :, 0] = (rows * 255 + white // 2) // white
    return grey


def _over_white(image: Image.Image) -> Pixels:
    is_grey = image.mode in ("L", "LA", "La", "1")
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    opaque = Image.alpha_composite(white, rgba).convert("L" if is_grey else "RGB")
    pixels = np.asarray(opaque)
    return pixels.reshape(*pixels.shape[:2], -1)
