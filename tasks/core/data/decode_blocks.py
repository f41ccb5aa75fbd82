"""Decodes blocks of images with the compiled decoder. What it leaves is decoded by the caller.

A block is a few hundred images. Blocks are done in threads, which do not wait for each other, since the
interpreter's lock is free while a block is read, hashed and decoded.
"""

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.core.config import Fit
from tasks.core.data import decode, decode_memory
from tasks.core.data.block_decoder.library import Digits, FileBlock, Library, TargetSize
from tasks.core.data.decode import Target
from tasks.core.data.pixels import Pixels

BLOCK = 256  # images; 4 ms of decoding
ARENA = 1 << 22  # bytes of pixels at a time
Rest = TypeVar("Rest")


class DecodedRun:
    """Consecutive images of a block that have the target's shape.

    Args:
        first: Position of the first one in the block.
        images: uint8 (n, H, W, C).
        originals: int32 (n, 3); original height, width and channels.
    """

    __slots__ = ("first", "images", "originals")

    def __init__(self, first: int, images: Pixels, originals: NDArray[np.int32]) -> None:
        self.first, self.images, self.originals = first, images, originals


def decoded(
    library: Library,
    files: FileBlock,
    target: Target,
    expected: Digits | None,
    contents: NDArray[np.int64] | None,
    rest: Callable[[int], Rest],
) -> Iterator[DecodedRun | Rest]:
    """Decode a block, in its order.

    Args:
        library: The compiled decoder.
        files: The images.
        target: Wanted size and channels.
        expected: The SHA-256 that each file must have.
        contents: int64 (n,), addresses of the contents that are in memory, or 0; see `Library.decode`.
        rest: Decodes an image that the compiled decoder left, by its position.

    Yields:
        Runs of images, and what `rest` returned.
    """
    start, count, size = 0, len(files), _target_size(target)
    while start < count:
        arena = np.empty(ARENA, np.uint8)
        left = files.from_(start) if start else files
        digests = None if expected is None else expected[start:]
        addresses = None if contents is None else contents[start:]
        results = library.decode(left, size, arena, digests, addresses)
        yield from _runs(results, arena, target, start, rest)
        start += len(results)


def _target_size(target: Target) -> TargetSize:
    height, width = target.size or (0, 0)
    is_pad = int(target.fit is Fit.pad)
    return TargetSize(height, width, is_pad, decode_memory.SMALL, decode.MIN_SIDE, decode.OVERSAMPLE)


def _runs(
    results: NDArray[np.void], arena: Pixels, target: Target, start: int, rest: Callable[[int], Rest]
) -> Iterator[DecodedRun | Rest]:
    shape = (*target.size, target.channels) if target.size else (0, 0, 0)
    fits = results["status"] == 1
    for name, side in zip(("height", "width", "channels"), shape, strict=True):
        fits &= results[name] == side
    bounds = np.flatnonzero(np.diff(fits)) + 1
    for members in np.split(np.arange(len(results)), bounds):
        if fits[members[0]]:
            yield _run(results[members], arena, shape, start + int(members[0]))
            continue
        for position in members.tolist():
            result = results[position]
            yield (
                _converted(result, arena, target, start + position)
                if result["status"]
                else rest(start + position)
            )


def _originals(results: NDArray[np.void]) -> NDArray[np.int32]:
    names = ("original_height", "original_width", "channels")
    return np.stack([results[name] for name in names], 1)


def _run(results: NDArray[np.void], arena: Pixels, shape: tuple[int, ...], first: int) -> DecodedRun:
    offset, count = int(results["offset"][0]), len(results) * int(np.prod(shape))
    return DecodedRun(first, arena[offset : offset + count].reshape(-1, *shape), _originals(results))


def _converted(result: np.void, arena: Pixels, target: Target, position: int) -> DecodedRun:
    shape = tuple(int(result[name]) for name in ("height", "width", "channels"))
    offset = int(result["offset"])
    pixels = arena[offset : offset + int(np.prod(shape))].reshape(shape)
    originals = _originals(np.array([result], result.dtype))
    height, width = originals[0, :2].tolist()
    image = decode.resize_and_convert(pixels, target, (height, width))
    return DecodedRun(position, image[None], originals)
