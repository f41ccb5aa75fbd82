"""When and by which camera an image was taken, from its EXIF (tags of EXIF 2.32, JEITA CP-3451X)."""

import warnings
from datetime import datetime
from typing import IO, NamedTuple

from PIL import Image

from tasks.core.data import file_types

EXIF_IFD = 0x8769
MAKE, MODEL, SERIAL = 0x010F, 0x0110, 0xA431
# Time and fraction of a second: of taking the picture, else of the file's last change.
ORIGINAL, ORIGINAL_FRACTION, CHANGED, CHANGED_FRACTION = 0x9003, 0x9291, 0x0132, 0x9290


class Capture(NamedTuple):
    """How an image was taken.

    Args:
        camera: Make, model and serial number, as far as they are there.
        time: By the camera's clock, without a time zone.
    """

    camera: str
    time: datetime


def read(file: IO[bytes]) -> Capture | None:
    """The camera and the time of an open image file; None where the file has no time.

    Only the head of the file is read, unless it is a HEIC.
    """
    try:
        with warnings.catch_warnings(action="ignore"), _opened(file) as image:
            exif = image.getexif()
            details = exif.get_ifd(EXIF_IFD)
    except Exception:  # Pillow raises many types on damaged files; such an image has no time
        return None
    time = _time(details.get(ORIGINAL), details.get(ORIGINAL_FRACTION))
    time = time or _time(exif.get(CHANGED), details.get(CHANGED_FRACTION))
    parts = (exif.get(MAKE), exif.get(MODEL), details.get(SERIAL))
    return Capture(" ".join(filter(None, map(_text, parts))), time) if time else None


def _opened(file: IO[bytes]) -> Image.Image:
    head = file.read(file_types.HEAD)
    file.seek(0)
    if file_types.by_content(head) is not file_types.HEIF:
        return Image.open(file)
    from pillow_heif import HeifImageFile

    return HeifImageFile(file)


def _time(value: object, fraction: object) -> datetime | None:
    try:
        time = datetime.strptime(_text(value)[:19], "%Y:%m:%d %H:%M:%S")
    except ValueError:  # absent, blank, or 0000:00:00 of a camera whose clock was never set
        return None
    digits = _text(fraction)
    return time.replace(microsecond=int(f"{digits:0<6}"[:6])) if digits.isdecimal() else time


def _text(value: object) -> str:
    text = value.decode("ascii", "ignore") if isinstance(value, bytes) else str(value or "")
    return text.replace("\0", " ").strip()
