"""Decode an image file's bytes to a uint8 array of a given size.

Rules, in this order:

1. Animations, MPO and other files of several images: the first one, or the main one of HEIC, is used.
2. The orientation is applied: that of EXIF, or of HEIC and AVIF themselves.
3. Palette images become RGB; transparent pixels are composited over white; CMYK becomes RGB.
4. More than 8 bits a channel: grey values of 0 to 2^b - 1 are scaled to 0..255 and rounded, where b is the
   least of 8, 10, 12, 14 and 16 bits that holds every grey image of more than 8 bits in the dataset. A model
   keeps its b, and an image beyond it is not read. Colours keep their upper 8 bits.
5. Grey images keep one channel, unless the dataset has colours: then the channel is repeated three times.
   Colour images of a grey dataset become ITU-R 601 luma (Pillow's "L").
6. Resizing uses a filter that covers every source pixel (antialiased bilinear, Pillow's). An image of other
   proportions than the target's is fitted to it:
   crop: the shorter side is scaled to the target, and what exceeds it on the longer side is cut equally at
   both ends.
   pad: the longer side is scaled to the target, and the rest is black, equally at both ends. Black is what
   `tf.image.resize_with_pad` and `PIL.ImageOps.pad` add, so other programs easily make the same image.
   stretch: both sides are scaled to the target.
7. A JPEG much larger than the target is decoded smaller, by DCT scaling to 1/2, 3/8, 1/4 or 1/8, such that
   at least 1.5 times the height and width that the image is scaled to are left for the filter.
"""

import io
import math
import warnings
from dataclasses import dataclass

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.core.config import Fit
from tasks.core.data import decode_memory, file_types, jpeg_segments
from tasks.core.data.block_decoder import library
from tasks.core.data.decode_memory import Share
from tasks.core.data.pixels import MAX_GREY_BITS, Pixels, as_pixels
from tasks.core.errors import DecodeError

MAX_PIXELS = 178_956_970  # twice Pillow's own warning limit: 512 MB as RGB
MIN_SIDE = 4  # pixels; smaller images are icons and tracking pixels
OVERSAMPLE = 1.5  # a DCT-scaled JPEG keeps at least this many pixels per target pixel, down and across
MIN_SHORTENED = 1 << 16  # bytes of a file; the tables for a shorter one take 0.1 ms
REDUCTION = 2  # simplejpeg's min_factor: scaling to 5/8, 6/8 or 7/8 takes longer than decoding in full
ORIENTATION = 0x0112
DNG_VERSION = 0xC612  # of the DNG specification
SUBFILE_TYPE, REDUCED = 0x00FE, 1  # of TIFF 6.0: an image with this bit is a smaller version of another one
UPRIGHT = (False, 0)
ROTATIONS = {  # EXIF orientation -> (mirror left-right first, quarter turns counter-clockwise)
    **{2: (True, 0), 3: (False, 2), 4: (True, 2)},
    **{5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)},
}


@dataclass(frozen=True)
class Target:
    """The size and the number of channels that images are converted to.

    Args:
        size: Height and width in pixels; None keeps each image's own size.
        channels: 1 or 3.
        fit: How an image of other proportions becomes `size`.
        grey_bits: Bits of the grey values of images that have more than 8; 0 while none is expected.
    """

    size: tuple[int, int] | None
    channels: int
    fit: Fit = Fit.crop
    grey_bits: int = MAX_GREY_BITS

    def min_decode_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels that a DCT-scaled JPEG of this original size must keep; 0 for all."""
        if self.size is None:
            return 0, 0
        scaled = padded_size(height, width, self.size) if self.fit is Fit.pad else self.size
        return math.ceil(scaled[0] * OVERSAMPLE), math.ceil(scaled[1] * OVERSAMPLE)


def decode(content: bytes, target: Target) -> tuple[Pixels, tuple[int, int, int]]:
    """Decode one image file.

    Args:
        content: The file's bytes. The format is recognised by them, not by a file name.
        target: Wanted size and channels.

    Returns:
        image: uint8 (H, W, C), as `target` says.
        original: The image's own height and width after orientation, and 1 if it is grey, else 3.

    Raises:
        DecodeError: The image cannot be decoded. The summary is the reason for the quarantine table.
    """
    if not content:
        raise DecodeError("empty file")
    with Share() as memory:
        is_jpeg = content[:2] == b"\xff\xd8"
        image, original = (
            _jpeg(content, target, memory) if is_jpeg else _other(content, target.grey_bits, memory)
        )
        if image.dtype != np.uint8:
            raise DecodeError(f"pixels of type {image.dtype}")
        return resize_and_convert(image, target, original[:2]), original


def resize_and_convert(image: Pixels, target: Target, original_size: tuple[int, int] | None = None) -> Pixels:
    """Convert an array to a target's size and channels (rules 5 and 6).

    Args:
        image: uint8 (H, W, C), C = 1 or 3.
        target: Wanted size and channels.
        original_size: Height and width before DCT scaling, whose rounding would move the edge of the padding
            by a pixel; None for those of `image`.

    Returns:
        uint8 (H, W, C), as `target` says.
    """
    if target.size is not None and image.shape[:2] != target.size:
        image = _fitted(image, target.size, target.fit, original_size or image.shape[:2])
    if image.shape[2] == target.channels:
        return image
    if target.channels == 3:
        return np.repeat(image, 3, axis=2)
    return np.asarray(Image.fromarray(image).convert("L"))[:, :, None]


def padded_size(height: int, width: int, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a whole image scaled into `size`: rounded (0.5 up), at least 1 pixel."""
    new_height, new_width = size
    if height * new_width <= width * new_height:
        return max(1, (2 * height * new_width + width) // (2 * width)), new_width
    return new_height, max(1, (2 * width * new_height + height) // (2 * height))


def _fitted(image: Pixels, size: tuple[int, int], fit: Fit, original_size: tuple[int, int]) -> Pixels:
    if fit is Fit.crop:
        return _resized(image, size, _center_crop_box(image.shape[0], image.shape[1], size))
    if fit is Fit.pad:
        return _padded(image, size, padded_size(*original_size, size))
    return _resized(image, size)


def _padded(image: Pixels, size: tuple[int, int], inner: tuple[int, int]) -> Pixels:
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    padded = np.zeros((*size, image.shape[2]), np.uint8)
    padded[top : top + inner[0], left : left + inner[1]] = _resized(image, inner)
    return padded


def _resized(
    image: Pixels, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Pixels:
    new_height, new_width = size
    array = image[:, :, 0] if image.shape[2] == 1 else image
    source = Image.fromarray(np.ascontiguousarray(array))
    resized = np.asarray(source.resize((new_width, new_height), Image.Resampling.BILINEAR, box=box))
    return resized.reshape(new_height, new_width, image.shape[2])


def _center_crop_box(height: int, width: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred box of the target's proportions: left, top, right, bottom.

    It never reaches outside the image.
    """
    new_height, new_width = size
    if height * new_width <= width * new_height:
        left = (width - new_width * height / new_height) / 2
        return left, 0, width - left, height
    top = (height - new_height * width / new_width) / 2
    return 0, top, width, height - top


def _refuse_size(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise DecodeError(f"over-sized: {width}x{height} pixels")
    if min(height, width) < MIN_SIDE:
        raise DecodeError(f"tiny: {width}x{height} pixels")


def _jpeg(content: bytes, target: Target, memory: Share) -> tuple[Pixels, tuple[int, int, int]]:
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError as error:
        return _forgiving(content, target, memory, error)
    _refuse_size(height, width)
    if space not in ("YCbCr", "RGB", "Gray"):
        return _other(content, target.grey_bits, memory)
    is_grey = space == "Gray"
    is_mirrored, quarter_turns = _exif_rotation(content)
    if quarter_turns % 2:
        least_width, least_height = target.min_decode_size(width, height)
    else:
        least_height, least_width = target.min_decode_size(height, width)
    options = ("GRAY" if is_grey else "RGB", False, False, least_height, least_width, REDUCTION)
    is_eighth = least_height and height // 8 >= least_height and width // 8 >= least_width
    memory.take(decode_memory.of_jpeg(content, (height, width), (least_height, least_width)), height, width)
    try:
        image = simplejpeg.decode_jpeg(_for_an_eighth(content) if is_eighth else content, *options)
    except ValueError as error:
        return _forgiving(content, target, memory, error)
    if is_mirrored or quarter_turns:
        image = np.rot90(image[:, ::-1] if is_mirrored else image, quarter_turns)
    size = (width, height) if quarter_turns % 2 else (height, width)
    return image, (*size, 1 if is_grey else 3)


def _for_an_eighth(content: bytes) -> bytes | NDArray[np.uint8]:
    """A JPEG with the same pixels at 1/8, where the compiled decoder makes one in less time than it saves."""
    decoder = library.load() if len(content) >= MIN_SHORTENED else None
    short = decoder.shortened(content) if decoder else None
    return content if short is None else short


def _forgiving(
    content: bytes, target: Target, memory: Share, error: ValueError
) -> tuple[Pixels, tuple[int, int, int]]:
    """A JPEG with a fault that loses no pixel, as Pillow reads it, which refuses files that are cut off."""
    if not jpeg_segments.HARMLESS.search(str(error)):
        raise DecodeError(f"broken JPEG: {error}") from error
    if (whole := jpeg_segments.with_whole_scan(content)) != content:
        return _jpeg(whole, target, memory)
    if jpeg_segments.lacks_rows(content):
        raise DecodeError(f"broken JPEG: cut off; {error}") from error
    return _other(content, target.grey_bits, memory)


def _exif_rotation(content: bytes) -> tuple[bool, int]:
    """How to rotate an image by its EXIF orientation: a value of `ROTATIONS`."""
    if not jpeg_segments.has_exif(content):
        return UPRIGHT
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(content)) as image:
            return ROTATIONS.get(int(image.getexif().get(ORIENTATION, 1)), UPRIGHT)
    except Exception:  # Pillow raises many types on damaged EXIF; the pixels can still be decoded
        return UPRIGHT


def _other(content: bytes, grey_bits: int, memory: Share) -> tuple[Pixels, tuple[int, int, int]]:
    try:
        with warnings.catch_warnings(action="ignore"), _opened(content) as image:
            _refuse_size(image.height, image.width)
            _refuse_preview(image)
            memory.take(decode_memory.of_image(image), image.height, image.width)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            pixels = as_pixels(image, grey_bits)
    except DecodeError:
        raise
    except Image.DecompressionBombError as error:  # raised from the header, before decompression
        raise DecodeError(f"over-sized: more than {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise DecodeError(_why_unknown(content)) from error
    except Exception as error:  # Pillow's decoders document no common type
        raise DecodeError(f"broken: {type(error).__name__}: {error}") from error
    height, width, channels = pixels.shape
    return pixels, (height, width, channels)


def _opened(content: bytes) -> Image.Image:
    file_type = file_types.by_content(content[: file_types.HEAD])
    if file_type is file_types.HEIF:
        return _opened_heif(content)
    if file_type is file_types.RAW:  # Pillow would open the preview of some
        raise DecodeError(file_type.reason)
    return Image.open(io.BytesIO(content))


def _opened_heif(content: bytes) -> Image.Image:
    """A HEIC, turned upright by its decoder, which then sets the orientation in EXIF to upright.

    pillow-heif is imported when the first HEIC comes, and its plugin is not registered with Pillow, so that
    other formats are decoded as without it.
    """
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise DecodeError(file_types.HEIF.reason) from error
    return HeifImageFile(io.BytesIO(content))


def _refuse_preview(image: Image.Image) -> None:
    """Refuse a raw file of a camera (DNG, NEF, ARW): a TIFF whose first image may be a small preview."""
    if image.format != "TIFF":
        return
    tags = image.getexif()
    if DNG_VERSION in tags or int(tags.get(SUBFILE_TYPE, 0)) & REDUCED:
        raise DecodeError(file_types.RAW.reason)


def _why_unknown(content: bytes) -> str:
    file_type = file_types.by_content(content[: file_types.HEAD])
    if file_type is file_types.UNKNOWN:
        return "not an image"
    return file_type.reason
