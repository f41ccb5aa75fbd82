"""SHA-256 of many short texts, and many SHA-256 as arrays."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tasks.core.data.block_decoder import library
from tasks.core.data.block_decoder.library import DIGITS, MAX_TEXT, Digits


def sha256_of_each(prefix: str, texts: Sequence[str]) -> bytes:
    """The SHA-256 of the prefix with each text, 32 bytes each."""
    start, sha256 = prefix.encode(), hashlib.sha256
    size = len(texts[0]) if texts else 0
    decoder = library.load() if 0 < size <= MAX_TEXT - len(start) else None
    joined = "".join(texts).encode() if decoder else b""
    if decoder and len(joined) == size * len(texts) and set(map(len, texts)) == {size}:
        return decoder.sha256_of_texts(start, np.frombuffer(joined, f"S{size}"))
    return b"".join([sha256(start + text.encode()).digest() for text in texts])


def digits_of(column: pa.ChunkedArray) -> Digits:
    """A column of SHA-256 strings as a fixed-width array, without one Python object per value."""
    fixed = column.cast(pa.binary()).cast(pa.binary(64)).combine_chunks()
    return np.frombuffer(fixed.buffers()[1] or b"", DIGITS)[fixed.offset : fixed.offset + len(fixed)]
