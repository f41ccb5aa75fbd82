"""The memory that all decoders of a process together may use: `BUDGET`.

What an image takes is estimated from its header, before anything is decompressed. It waits until that much of
the budget is free. An image that needs more than the whole budget is refused: a small file can be an image
bomb. Images of at most `SMALL` pixels are not counted; each takes 40 MB at most.
"""

import ctypes
import sys
import threading
from functools import cache
from typing import Self

from PIL import Image

from tasks.core.errors import DecodeError

BUDGET = 1 << 30  # bytes, of a process
SMALL = 1 << 20  # pixels
# Bytes a pixel at the peak, measured with images of 9 megapixels and Pillow 13: the image of Pillow, its
# bytes, their copy as an array, and what is converted. Of other modes, such as CMYK, LAB and YCbCr: `OTHER`.
BY_MODE = {
    **{"1": 6, "L": 6, "P": 14, "RGB": 14, "I;16": 8, "I;16L": 8, "I;16B": 8, "I;16N": 8, "I": 14},
    **{"LA": 24, "PA": 24, "La": 24, "RGBA": 28, "RGBa": 28},
}
OTHER = 20
TRANSPARENT = 10  # more, for a palette or a colour that is transparent
BY_FORMAT = {"WEBP": 9, "AVIF": 9, "HEIF": 9, "JPEG2000": 13}  # more, for the decoder's own buffers
JPEG_SCALES = (1 / 8, 1 / 4, 3 / 8, 1 / 2)  # with simplejpeg's min_factor of 2
JPEG_PIXEL = 12  # bytes a pixel of the decoded size: the array, its rotation, and Pillow's image of it
COEFFICIENTS = 6  # bytes a pixel of the full size: a progressive JPEG keeps 2 bytes for each of 3 channels
PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)  # start-of-frame markers (ITU-T T.81, table B.1)
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
M_MMAP_THRESHOLD = -3  # mallopt(3)
LONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


class _Budget:
    """Bytes that threads take and give back; the first that waits is served first."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    def take(self, count: int) -> None:
        _return_freed_memory()
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= count)
            self._free -= count

    def give_back(self, count: int) -> None:
        with self._changed:
            self._free += count
            self._changed.notify_all()


_budget = _Budget(BUDGET)


@cache
def _return_freed_memory() -> None:
    """Have glibc return what a large image took when it is freed.

    Pillow takes 16 MiB at a time. glibc raises its threshold to that when the first is freed, and keeps the
    later ones in a heap of each thread: 1,030 MB at the peak instead of 440 for five images of 420 MB.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is not None and hasattr(library, "mallopt"):  # musl has none
        library.mallopt(M_MMAP_THRESHOLD, 8 << 20)


class Share:
    """The part of the budget that one image has, until the end of the block."""

    def __init__(self) -> None:
        self._taken = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._taken:
            _budget.give_back(self._taken)

    def take(self, need: int, height: int, width: int) -> None:
        """Wait until memory is free, and take it.

        Args:
            need: Bytes, from `of_image` or `of_jpeg`; 0 for an image that is not counted.
            height, width: Pixels of the image, for the error.

        Raises:
            DecodeError: It needs more than the whole budget.
        """
        if need > BUDGET:
            raise DecodeError(
                f"over-sized: {width}x{height} pixels need {need / 1e9:.1f} GB to decode,"
                f" the limit is {BUDGET / 1e9:.1f} GB"
            )
        if self._taken:  # a second attempt: what waits must hold nothing, or two could wait for each other
            _budget.give_back(self._taken)
            self._taken = 0
        if need:
            _budget.take(need)
            self._taken = need


def of_image(image: Image.Image) -> int:
    """Bytes to decode an image that Pillow has opened and not yet read; 0 if it is small."""
    pixels = image.width * image.height
    if pixels <= SMALL:
        return 0
    each = BY_MODE.get(image.mode, OTHER) + BY_FORMAT.get(image.format or "", 0)
    return pixels * (each + (TRANSPARENT if "transparency" in image.info else 0))


def of_jpeg(content: bytes, size: tuple[int, int], least: tuple[int, int]) -> int:
    """Bytes to decode a JPEG with DCT scaling; 0 if it is small.

    Args:
        content: The file.
        size: Height and width.
        least: Height and width that must be left; 0 for all.
    """
    pixels = size[0] * size[1]
    if pixels <= SMALL:
        return 0
    fits = (scale for scale in JPEG_SCALES if all(map(lambda a, b: b and a * scale >= b, size, least)))
    scale = next(fits, 1.0)
    return int(pixels * (JPEG_PIXEL * scale**2 + (COEFFICIENTS if is_progressive(content) else 0)))


def is_progressive(content: bytes) -> bool:
    """Whether a JPEG is progressive, by its start-of-frame marker; True if it has none."""
    position = 2
    while position + 4 <= len(content):
        if content[position] != 0xFF:
            position += 1
            continue
        marker = content[position + 1]
        if marker in FRAMES:
            return marker in PROGRESSIVE
        if marker == 0xFF or marker in LONE:
            position += 1 if marker == 0xFF else 2
            continue
        position += 2 + int.from_bytes(content[position + 2 : position + 4], "big")
    return True
