"""What decoding at 1/8 does not need is removed from a JPEG: pixels and messages stay as they are."""

import random

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from tasks.core.config import Fit
from tasks.core.data import decode
from tasks.core.data.block_decoder import library
from tasks.core.data.block_decoder.library import Library
from tasks.core.data.decode import Target
from tasks.core.errors import DecodeError
from tests.support.sample_files import encoded, noise, smooth


def like_a_photo(seed: int, height: int, width: int) -> Image.Image:
    """Blocks without details beside blocks with many: short and long codes, and runs of zeros."""
    pixels = smooth(height, width).astype(int) + (noise(seed, height, width).astype(int) - 128) // 4
    pixels[: height // 2] = smooth(height, width)[: height // 2]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


PHOTO, ODD = like_a_photo(0, 300, 420), like_a_photo(1, 251, 333)
SHORTENED = {
    **{f"sampling {number}": encoded(ODD, "JPEG", subsampling=number) for number in range(3)},
    **{f"quality {number}": encoded(PHOTO, "JPEG", quality=number) for number in (1, 50, 98)},
    "grey": encoded(PHOTO.convert("L"), "JPEG"),
    "restart markers": encoded(PHOTO, "JPEG", restart_marker_blocks=5),
    "own tables": simplejpeg.encode_jpeg(np.asarray(ODD), 85, "RGB", "440"),
    "RGB inside": encoded(PHOTO, "JPEG", keep_rgb=True),
    "bytes behind the end": encoded(PHOTO, "JPEG") + b"MotionPhoto" * 9,
}
WHOLE = encoded(PHOTO, "JPEG")
AS_IT_IS = {
    "progressive": encoded(PHOTO, "JPEG", progressive=True),
    "CMYK": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "truncated": WHOLE[:-500],
    "no end": WHOLE[:-2],
    "bytes before the end": WHOLE[:-2] + b"ab" + WHOLE[-2:],
    "filled marker": WHOLE[:2] + b"\xff" + WHOLE[2:],
    "header only": WHOLE[:400],
    "PNG": encoded(noise(0)),
    "empty": b"",
}


@pytest.mark.parametrize("name", SHORTENED)
def test_short_file_has_the_same_pixels_at_an_eighth(decoder: Library, name: str) -> None:
    content = SHORTENED[name]
    short = decoder.shortened(content)
    assert short is not None
    assert len(short) <= len(content)
    space = "GRAY" if name == "grey" else "RGB"
    pixels = [simplejpeg.decode_jpeg(each, space, False, False, 20, 20, 2) for each in (short, content)]
    assert pixels[0].shape[0] in (-(-300 // 8), -(-251 // 8))
    np.testing.assert_array_equal(*pixels)


@pytest.mark.parametrize("name", AS_IT_IS)
def test_other_files_are_left_as_they_are(decoder: Library, name: str) -> None:
    assert decoder.shortened(AS_IT_IS[name]) is None


def decoded(content: bytes, target: Target) -> tuple[object, ...]:
    try:
        image, original = decode.decode(content, target)
    except DecodeError as error:
        return ("refused", error.summary)
    return image.shape, image.tobytes(), original


def damaged(content: bytes, chance: random.Random) -> bytes:
    place, kind = chance.randrange(len(content)), chance.randrange(3)
    some = bytes(chance.choices((0, 7, 0xD0, 0xD9, 0xFF), k=chance.randint(1, 4)))
    return content[:place] + some + content[place + (0, 1, len(some))[kind] :]


def test_damaged_files_are_decoded_or_refused_alike(
    decoder: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance, monkey = random.Random(0), monkeypatch
    monkey.setattr(decode, "MIN_SHORTENED", 0)
    contents = [damaged(content, chance) for content in SHORTENED.values() for _ in range(15)]
    targets = [Target(size, 3, fit) for size in ((20, 20), (12, 24)) for fit in Fit]
    cases = [(content, chance.choice(targets)) for content in (*SHORTENED.values(), *contents)]
    found = []
    for path in (library.OFF, str(decoder.path)):
        monkey.setenv(library.VARIABLE, path)
        library.load.cache_clear()
        found.append([decoded(*case) for case in cases])
    assert found[0] == found[1]
    kinds = {result[0] == "refused" for result in found[0][len(SHORTENED) :]}
    assert kinds == {True, False}
