"""The budget of memory for decoding: image bombs are refused, and large images wait for each other."""

import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks.core.data import decode, decode_memory
from tasks.core.data.decode import Target
from tasks.core.errors import DecodeError
from tests.support.sample_files import encoded, smooth

ROOT = Path(__file__).resolve().parents[3]
SMALL = Target((32, 32), 3)
PEAK = """
import resource, sys
from functools import partial
from pathlib import Path
from tasks.core.data import decode, threads
from tasks.core.errors import DecodeError

def one(content):
    try:
        return str(decode.decode(content, decode.Target((32, 32), 3))[1])
    except DecodeError as error:
        return error.summary

contents = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir())]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(list(threads.map_threaded(one, contents, size=1 << 20, workers=8)))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def grey_png(side: int, depth: int = 16, colour_type: int = 0) -> bytes:
    """A black PNG, written row by row: a few kB on disk, large in memory (PNG specification, section 11)."""
    packer, channels = zlib.compressobj(1), {0: 1, 2: 3}[colour_type]
    row = bytes(1 + side * channels * depth // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, depth, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def peak_of(folder: Path) -> tuple[str, int]:
    """Decode a folder's images in 8 threads of a new process; what came of them, and bytes at the peak."""
    command = [sys.executable, "-c", PEAK, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    results, peak = done.stdout.splitlines()
    return results, int(peak)


def test_a_bomb_is_refused_from_its_header() -> None:
    bomb = grey_png(13376)
    assert len(bomb) < 2_000_000
    message = "over-sized: 13376x13376 pixels need 1.4 GB to decode, the limit is 1.1 GB"
    with pytest.raises(DecodeError, match=message):
        decode.decode(bomb, SMALL)


@pytest.mark.slow
def test_eight_threads_stay_within_the_budget(tmp_path: Path) -> None:
    """Five colour images of 420 MB each, all at once 2.1 GB, and two bombs."""
    large, bomb = grey_png(6500, depth=8, colour_type=2), grey_png(13376)
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(large)
    for number in (8, 9):
        (tmp_path / f"{number}.png").write_bytes(bomb)
    results, peak = peak_of(tmp_path)
    assert results.count("(6500, 6500, 3)") == 5
    assert results.count("need 1.4 GB") == 2
    assert peak < decode_memory.BUDGET


def test_the_budget_is_given_back_after_a_failure() -> None:
    broken = encoded(smooth(1100, 1100), "PNG")[:-5000]
    for _ in range(100):  # 100 x 17 MB are more than the budget: a leak would wait for ever
        with pytest.raises(DecodeError, match="broken"):
            decode.decode(broken, SMALL)


def test_progressive_jpegs_are_known_by_their_marker() -> None:
    image = smooth(40, 60)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    for progressive in (True, False):
        content = encoded(image, "JPEG", progressive=progressive, exif=exif.tobytes())
        assert decode_memory.is_progressive(content) is progressive
    assert decode_memory.is_progressive(b"\xff\xd8\xff")


def test_a_scaled_jpeg_needs_less() -> None:
    content = encoded(smooth(40, 60), "JPEG")
    full = decode_memory.of_jpeg(content, (8000, 8000), (0, 0))
    eighth = decode_memory.of_jpeg(content, (8000, 8000), (48, 48))
    assert full == 64 * eighth == 12 * 8000 * 8000


def test_16_bit_grey_is_rounded_as_before() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    pixels = decode.decode(buffer.getvalue(), Target(None, 1))[0]
    assert np.array_equal(pixels[:, :, 0], np.floor(values / 257 + 0.5))
