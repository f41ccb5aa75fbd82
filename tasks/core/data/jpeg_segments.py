"""The segments of a JPEG file, as far as decoding asks for them (ITU-T T.81, annex B)."""

import math
import re
import struct
from collections.abc import Iterator

# What libjpeg says of faults that lose no pixel; Pillow and TensorFlow read such files.
HARMLESS = re.compile(
    r"extraneous bytes before marker|Invalid SOS parameters|unknown JFIF revision|bad ICC marker"
)
EXIF = b"Exif\0\0"
SEARCHED = 1 << 16  # bytes of a file that is searched faster than its segments are walked
APP1, DRI, SOS = 0xE1, 0xDD, 0xDA
SEQUENTIAL = (0xC0, 0xC1)  # frames of a single scan, mostly
RESTARTS = re.compile(rb"\xff[\xd0-\xd7]")


def segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the first scan; bytes between segments are skipped."""
    place = 2
    while (place := content.find(b"\xff", place)) >= 0 and place + 4 <= len(content):
        marker = content[place + 1]
        if marker in (0x00, 0xFF, 0x01) or 0xD0 <= marker <= 0xD9:  # no segment: fill bytes, restarts
            place += 1
            continue
        length = int.from_bytes(content[place + 2 : place + 4], "big")
        yield marker, content[place + 4 : place + 2 + length]
        if marker == SOS:
            return
        place += 2 + length


def has_exif(content: bytes) -> bool:
    """Whether a segment is EXIF, wherever it stands: extended XMP of more than 64 kB may come before it."""
    if len(content) < SEARCHED and EXIF not in content:
        return False
    return any(marker == APP1 and body.startswith(EXIF) for marker, body in segments(content))


def lacks_rows(content: bytes) -> bool:
    """Whether restart markers are missing at the end: a file that was cut off, and closed nevertheless."""
    interval, blocks = 0, 0
    for marker, body in segments(content):
        if marker == DRI and len(body) >= 2:
            interval = int.from_bytes(body[:2], "big")
        elif marker in SEQUENTIAL:
            blocks = _blocks(body)
    if not interval or not blocks:
        return False
    expected = math.ceil(blocks / interval) - 1
    return len(RESTARTS.findall(content, content.find(b"\xff\xda"))) < expected


def _blocks(frame: bytes) -> int:
    """The minimum coded units of a frame; 0 if its header is damaged."""
    if len(frame) < 9 or len(frame) < 6 + 3 * frame[5]:
        return 0
    height, width = struct.unpack(">HH", frame[1:5])
    factors = [frame[7 + 3 * number] for number in range(frame[5])]
    across, down = max(factor >> 4 for factor in factors), max(factor & 15 for factor in factors)
    if frame[5] == 1 or not across or not down:  # a single component is not interleaved: blocks of 8 x 8
        across = down = 1
    return math.ceil(width / (8 * across)) * math.ceil(height / (8 * down))


def with_whole_scan(content: bytes) -> bytes:
    """The file of a sequential JPEG whose first scan says that it has all coefficients, as it must."""
    start = content.find(b"\xff\xda")
    spectral = start + 5 + 2 * content[start + 4]
    is_sequential = any(marker in SEQUENTIAL for marker, _ in segments(content))
    if start < 0 or not is_sequential:
        return content
    return content[:spectral] + bytes((0, 63, 0)) + content[spectral + 3 :]
