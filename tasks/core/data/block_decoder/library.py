"""Loads the compiled decoder, if there is one, and checks that it gives what hashlib and simplejpeg give.

`PLUMBLINE_DECODER` is the path of another build of it, or "off".
"""

import ctypes
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
from numpy.typing import NDArray

log = logging.getLogger("plumbline.data")

VARIABLE, OFF = "PLUMBLINE_DECODER", "off"
ABI = 2  # as in decoder.c
DIGEST = 32  # bytes of a SHA-256
PROBE = b"plumbline"
SIDES = ((32, 32), (37, 50))  # height and width of the images of the check
REDUCTION = 2  # simplejpeg's min_factor, as in `decode`
DIGITS = "S64"  # a SHA-256 in hexadecimal; empty if unknown
ENDS = 4  # bytes of where a text ends, in an Arrow array of strings
NAME_BYTES = 24  # of a file's name, at first
NO_ROOM = -2  # as in decoder.c
ROOM = 1 << 18  # bytes that shortening needs besides twice the file
MAX_TEXT = 200  # bytes of a prefix and a text that are hashed together
Digits = NDArray[np.bytes_]


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


class FileBlock(ctypes.Structure):
    """Files of one folder, as decoder.c has them, without a Python object for each.

    Args:
        root: The folder; "" if there is none, and all contents are given.
        paths: Strings (n,), relative to it.
        sizes: int64 (n,), bytes of each.
        stamps: int64 (n, 2), modification and change time in ns, with which kept contents were read.
    """

    _fields_ = (
        *(("root", ctypes.c_char_p), ("text", ctypes.c_void_p)),
        *((name, ctypes.c_void_p) for name in ("ends", "sizes", "stamps")),
    )

    def __init__(
        self,
        root: str,
        paths: pa.Array,
        sizes: NDArray[np.int64],
        stamps: NDArray[np.int64] | None = None,
    ) -> None:
        _, ends, text = paths.buffers()
        sizes = np.ascontiguousarray(sizes)
        stamps = None if stamps is None else np.ascontiguousarray(stamps)
        start = ends.address + ENDS * paths.offset
        text_address = text.address if text else None
        super().__init__(os.fsencode(root) or None, text_address, start, _address(sizes), _address(stamps))
        self.root_path, self.paths, self.bytes, self.times = root, paths, sizes, stamps

    def __len__(self) -> int:
        return len(self.paths)

    def from_(self, start: int) -> "FileBlock":
        """The files from position `start` on."""
        stamps = None if self.times is None else self.times[start:]
        return FileBlock(self.root_path, self.paths.slice(start), self.bytes[start:], stamps)


class Library:
    """The compiled functions; none holds the interpreter's lock.

    Args:
        path: The shared library.

    Raises:
        OSError, AttributeError: It cannot be loaded, or is something else.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._functions = ctypes.CDLL(str(path))
        self._abi = self._functions.plumbline_abi()
        if self._abi == ABI:  # else `fault` says that it was built from another version
            for name in ("plumbline_list", "plumbline_shorten"):
                self._functions[name].restype = ctypes.c_int64
        self._own = threading.local()
        self._sha256 = ctypes.cast(_openssl().SHA256, ctypes.c_void_p)

    def sha256_of_files(self, files: FileBlock, kept: NDArray[np.uint8] | None = None) -> Digits:
        """The SHA-256 of files, as 64 hexadecimal digits each.

        Args:
            files: The files.
            kept: uint8 (bytes,), where the contents are kept, one after the other; it has a byte more.

        Returns:
            (n,); empty for a file that could not be read or has another size.
        """
        digits = np.zeros(len(files), DIGITS)
        self._functions.plumbline_hash_files(
            *(len(files), ctypes.byref(files), self._sha256, _address(digits), _address(kept))
        )
        return digits

    def sha256_of_texts(self, prefix: bytes, texts: NDArray[np.bytes_]) -> bytes:
        """The SHA-256 of a prefix with each text, 32 bytes each; both have at most `MAX_TEXT` bytes."""
        digests = np.empty(DIGEST * len(texts), np.uint8)
        size = ctypes.c_int64
        self._functions.plumbline_hash_texts(
            *(size(len(texts)), prefix, size(len(prefix)), _address(texts), size(texts.itemsize)),
            *(self._sha256, _address(digests)),
        )
        return digests.tobytes()

    def list_folder(self, path: str, suffixes: bytes, room: int) -> tuple[pa.Array, NDArray[np.int64]] | None:
        """The files of a folder that has nothing but images by their names.

        Args:
            path: The folder.
            suffixes: Of images, in lower case, with a zero byte behind each.
            room: Files that there may be at first; it is doubled until they fit.

        Returns:
            names: Strings (n,).
            stats: int64 (n, 3); bytes, modification and change time of each.
        """
        text_room = NAME_BYTES * room
        text, stats = np.empty(text_room, np.uint8), np.empty((room, 3), np.int64)
        ends = np.zeros(room + 1, np.int32)
        count = self._functions.plumbline_list(
            *(os.fsencode(path), suffixes, ctypes.c_int64(room), ctypes.c_int64(text_room)),
            *(_address(text), _address(ends), _address(stats)),
        )
        if count == NO_ROOM:
            return self.list_folder(path, suffixes, 2 * room)
        if count < 0:
            return None
        names = pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(text))
        return names, stats[:count]

    def decode(
        self,
        files: FileBlock,
        target: TargetSize,
        arena: NDArray[np.uint8],
        expected: Digits | None = None,
        contents: NDArray[np.int64] | None = None,
    ) -> NDArray[np.void]:
        """Decode as many images as the arena has room for.

        Args:
            files: The files.
            target: What to do with each.
            arena: uint8 (bytes,), where the pixels are written.
            expected: SHA-256 of each file, without which none is read.
            contents: int64 (n,), the address of each content that is in memory, or 0.

        Returns:
            `RESULT` of each image that was gone through, the first ones; a status of 0 is left to `decode`.
        """
        results = np.zeros(len(files), RESULT)
        count = self._functions.plumbline_decode(
            *(len(files), ctypes.byref(files), _address(expected), _address(contents), self._sha256),
            *(ctypes.byref(target), _address(arena), ctypes.c_int64(arena.nbytes), _address(results)),
        )
        return results[:count]

    def shortened(self, content: bytes) -> NDArray[np.uint8] | None:
        """A JPEG that decodes to the same pixels at 1/8, and faster; None if it must be decoded as it is.

        Returns:
            uint8 (bytes,), until the same thread calls it again.
        """
        size, room = len(content), getattr(self._own, "room", None)
        if room is None or len(room) < 2 * size + ROOM:
            room = self._own.room = np.empty(3 * size + ROOM, np.uint8)
        found = self._functions.plumbline_shorten(
            *(content, ctypes.c_int64(size), _address(room), ctypes.c_int64(len(room)))
        )
        return room[size + 16 :][:found] if found else None

    def fault(self) -> str:
        """Why it must not be used; empty if it gives what Python gives."""
        if self._abi != ABI:
            return f"it was built from another version of Plumbline ({self._abi}, not {ABI})"
        digest = ctypes.create_string_buffer(DIGEST)
        ctypes.cast(self._sha256, HASH)(PROBE, len(PROBE), digest)
        if digest.raw != hashlib.sha256(PROBE).digest():
            return "its SHA-256 differs from hashlib's"
        differs = any(not np.array_equal(self._alone(*case), _by_simplejpeg(*case)) for case in _cases())
        differs |= not all(map(self._shortens, {content for content, _, _ in _cases()}))
        return "its pixels differ from simplejpeg's: another libjpeg" if differs else ""

    def _shortens(self, content: bytes) -> bool:
        short, full = self.shortened(content), _by_simplejpeg(content, False, 4)
        return short is not None and np.array_equal(_by_simplejpeg(short, False, 4), full)

    def _alone(self, content: bytes, is_grey: bool, least: int) -> NDArray[np.uint8]:
        arena, target = np.zeros(1 << 14, np.uint8), TargetSize(least, least, 0, 1 << 20, 1, 1.0)
        files, contents = in_memory([content])
        (result,) = self.decode(files, target, arena, contents=contents)
        shape = (result["height"], result["width"], result["channels"])
        return arena[: int(np.prod(shape))].reshape(shape)


HASH = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p)


def _openssl() -> Any:
    """The OpenSSL that hashlib uses; AttributeError follows if Python has it inside."""
    import _hashlib

    return ctypes.CDLL(_hashlib.__file__)


def in_memory(contents: list[bytes]) -> tuple[FileBlock, NDArray[np.int64]]:
    """Encoded images as a block without files, and their addresses, valid as long as `contents`."""
    sizes = np.array([len(content) for content in contents], np.int64)
    pointers = (ctypes.c_char_p * len(contents))(*contents)
    addresses = np.frombuffer(memoryview(pointers).cast("B"), np.int64)
    return FileBlock("", pa.array([""] * len(contents)), sizes), addresses


def _address(array: NDArray[Any] | None) -> ctypes.c_void_p | None:
    return None if array is None else ctypes.c_void_p(array.ctypes.data)


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


def _by_simplejpeg(content: bytes | NDArray[np.uint8], is_grey: bool, least: int) -> NDArray[np.uint8]:
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
