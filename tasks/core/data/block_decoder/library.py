"""Loads the compiled decoder, if there is one, and checks that its pixels are those of simplejpeg.

`PLUMBLINE_DECODER` is the path of another build of it, or "off".
"""

import ctypes
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray

log = logging.getLogger("plumbline.data")

VARIABLE, OFF = "PLUMBLINE_DECODER", "off"
ABI = 1  # as in decoder.c
DIGEST = 32  # bytes of a SHA-256
PROBE = b"plumbline"
SIDES = ((32, 32), (37, 50))  # height and width of the images of the check
REDUCTION = 2  # simplejpeg's min_factor, as in `decode`


class TargetSize(ctypes.Structure):
    """What the decoder does with an image; the fields are explained in decoder.c."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("height", "width", "is_pad", "max_pixels", "min_side")),
        ("oversample", ctypes.c_double),
    )


RESULT = np.dtype(
    [
        *((name, np.int32) for name in ("status", "height", "width", "channels")),
        *((name, np.int32) for name in ("original_height", "original_width")),
        ("offset", np.int64),
    ]
)


class Library:
    """The compiled functions.

    Args:
        path: The shared library.

    Raises:
        OSError, AttributeError: It cannot be loaded, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._functions = ctypes.CDLL(str(path))
        self._abi = self._functions.plumbline_abi()
        self._sha256 = ctypes.cast(_openssl().SHA256, ctypes.c_void_p)

    def sha256_of_files(self, files: Sequence[tuple[str, int]]) -> list[str]:
        """The SHA-256 of files, without the interpreter's lock.

        Args:
            files: Absolute path and bytes of each.

        Returns:
            64 hexadecimal digits each; empty for a file that could not be read or has another size.
        """
        paths, sizes = (
            [os.fsencode(path) for path, _ in files],
            np.array([size for _, size in files], np.int64),
        )
        digests, status = ctypes.create_string_buffer(DIGEST * len(files)), np.zeros(len(files), np.uint8)
        self._functions.plumbline_hash_files(
            len(files), _pointers(paths), _address(sizes), self._sha256, digests, _address(status)
        )
        digits = digests.raw.hex()
        places = range(0, len(digits), 2 * DIGEST)
        return [
            digits[place : place + 2 * DIGEST] if done else ""
            for place, done in zip(places, status.tolist(), strict=True)
        ]

    def decode(
        self,
        contents: list[bytes],
        sizes: NDArray[np.int64],
        target: TargetSize,
        arena: NDArray[np.uint8],
        expected: bytes | None = None,
    ) -> NDArray[np.void]:
        """Decode as many images as the arena has room for, without the interpreter's lock.

        Args:
            contents: Encoded images; the absolute paths of their files if `expected` is given.
            sizes: int64 (n,), bytes of each.
            target: What to do with each.
            arena: uint8 (bytes,), where the pixels are written.
            expected: SHA-256 of each file, 32 bytes each.

        Returns:
            `RESULT` of each image that was gone through, the first ones; a status of 0 is left to `decode`.
        """
        results = np.zeros(len(contents), RESULT)
        count = self._functions.plumbline_decode(
            *(len(contents), _pointers(contents), _address(sizes), expected, self._sha256),
            *(ctypes.byref(target), _address(arena), ctypes.c_int64(arena.nbytes), _address(results)),
        )
        return results[:count]

    def fault(self) -> str:
        """Why it must not be used; empty if it gives what Python gives."""
        if self._abi != ABI:
            return f"it was built from another version of Plumbline ({self._abi}, not {ABI})"
        digest = ctypes.create_string_buffer(DIGEST)
        ctypes.cast(self._sha256, HASH)(PROBE, len(PROBE), digest)
        if digest.raw != hashlib.sha256(PROBE).digest():
            return "its SHA-256 differs from hashlib's"
        differs = any(not np.array_equal(self._alone(*case), _by_simplejpeg(*case)) for case in _cases())
        return "its pixels differ from simplejpeg's: another libjpeg" if differs else ""

    def _alone(self, content: bytes, is_grey: bool, least: int) -> NDArray[np.uint8]:
        arena, target = np.zeros(1 << 14, np.uint8), TargetSize(least, least, 0, 1 << 20, 1, 1.0)
        (result,) = self.decode([content], np.array([len(content)], np.int64), target, arena)
        shape = (result["height"], result["width"], result["channels"])
        return arena[: int(np.prod(shape))].reshape(shape)


HASH = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p)


def _openssl() -> Any:
    """The OpenSSL that hashlib uses; AttributeError follows if Python has it inside."""
    import _hashlib

    return ctypes.CDLL(_hashlib.__file__)


def _pointers(contents: list[bytes]) -> Any:
    return (ctypes.c_char_p * len(contents))(*contents)


def _address(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _cases() -> Iterator[tuple[bytes, bool, int]]:
    """JPEG files of each sampling, with the least side that decoding must leave."""
    rng = np.random.default_rng(0)
    for height, width in SIDES:
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        for sampling in ("444", "422", "420"):
            content = simplejpeg.encode_jpeg(pixels, 80, "RGB", sampling)
            yield from ((content, False, least) for least in (0, 9))
        grey = np.ascontiguousarray(pixels[:, :, :1])
        yield simplejpeg.encode_jpeg(grey, 80, "GRAY", "Gray"), True, 0


def _by_simplejpeg(content: bytes, is_grey: bool, least: int) -> NDArray[np.uint8]:
    space = "GRAY" if is_grey else "RGB"
    return simplejpeg.decode_jpeg(content, space, False, False, least, least, REDUCTION)


@cache
def load() -> Library | None:
    """The compiled decoder; None if there is none, it is off, or it would give other bytes (a warning)."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen == OFF:
        return None
    paths = [Path(chosen)] if chosen else sorted(Path(__file__).parent.glob("_decoder*.so"))
    for path in paths:
        try:
            library = Library(path)
            fault = library.fault()
        except (OSError, AttributeError, ImportError, ValueError) as error:
            fault = str(error)
        if not fault:
            return library
        log.warning("the compiled decoder %s is not used: %s", path, fault)
    return None
