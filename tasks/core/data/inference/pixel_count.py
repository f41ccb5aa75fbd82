"""The number of pixels of an encoded image, from its header alone."""

import io
import warnings

from PIL import Image

from tasks.core.errors import DecodeError


def check_pixels(content: bytes, most: int) -> None:
    """Refuse an image of too many pixels before it is decoded.

    A header that Pillow cannot read passes: `decode` has limits of its own, and says what is wrong.

    Args:
        content: The file's bytes.
        most: Most pixels.

    Raises:
        DecodeError: It has more pixels.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise DecodeError(f"over-sized: more than {most:,} pixels") from error
    except Exception:  # Pillow raises many types on damaged headers
        return
    if width * height > most:
        raise DecodeError(f"over-sized: {width}x{height} pixels, the limit is {most:,}")
