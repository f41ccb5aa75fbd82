"""Numbers that stay nearly the same when a picture is recompressed, shifted a little or brightened.

A picture has three kinds: where its light and dark lie (low frequencies of a cosine transform), its
texture (magnitudes of a windowed Fourier transform, which a shift leaves alone), and where its colours lie.
Each is split into numbers that stay when the picture is mirrored and numbers that only change their sign, so
that a picture and its mirror image are compared in the same step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.loader import mmap

SIDE = 32  # pixels; larger pictures are averaged down to it
SMALLEST = 16  # pixels; below, two pictures of a class can hardly be told from a picture and its copy
LAYOUT = 8  # cosine frequencies, down and across, of the light
COLOURS = 3  # and of the colours
TEXTURE = 6  # Fourier frequencies
HIGHEST = 7  # sum of the two frequencies up to which numbers are kept
FLOOR = 2.0  # grey levels added to a picture's contrast, so that an empty picture's noise isn't blown up
BLOCK = 2048  # pictures at a time
# Bytes of pictures in full that are in memory at a time. Larger arrays go back to the system after use,
# and where memory is short each of their pages has to be won anew (4 MB: 196 s in a cgroup, not 46).
PORTION = 1 << 20
TO_LIGHT = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
TO_COLOURS = np.array([[0.5, -0.1687], [-0.4187, -0.3313], [-0.0813, 0.5]], np.float32)

Floats = NDArray[np.float32]
Images = NDArray[np.uint8] | Floats  # as they are, or as `reduced` gives them


@dataclass(frozen=True)
class Features:
    """Descriptors of N pictures.

    Args:
        even: float32 (N, E); the same for the mirrored picture.
        odd: float32 (N, O); with the other sign for the mirrored picture.
    """

    even: Floats
    odd: Floats


def describe(images: Images) -> Features:
    """Describe pictures of at least `SMALLEST` pixels a side.

    Args:
        images: (N, H, W, C), C = 1 or 3; may be memory-mapped.
    """
    parts = [_describe(block) for block in blocks(images)]
    return Features(np.concatenate([even for even, _ in parts]), np.concatenate([odd for _, odd in parts]))


def blocks(images: Images) -> Iterator[Floats]:
    """The pictures, averaged down, a block at a time: float32 (n, h, w, C), 0..255."""
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        parts = portions(len(block), block[:1].nbytes)
        yield np.concatenate([reduced(block[part]) for part in parts])
        mmap.release_pages(images)


def portions(count: int, image_bytes: int) -> Iterator[slice]:
    """Parts of so many pictures that take at most `PORTION` in full."""
    size = max(1, PORTION // max(1, image_bytes))
    return (slice(start, start + size) for start in range(0, count, size))


def reduced(images: Images, height: int = SIDE, width: int = SIDE) -> Floats:
    """Pictures averaged down to at most this size: float32 (N, h, w, C), 0..255."""
    shape = zip(images.shape[1:3], (height, width), strict=True)
    down, across = (_averaging(side, min(side, most)) for side, most in shape)
    if len(down) == images.shape[1] and len(across) == images.shape[2]:
        return np.asarray(images, np.float32)
    return np.stack([np.einsum("yi,ijc,xj->yxc", down, image, across, optimize=True) for image in images])


def light_of(images: Floats) -> Floats:
    """The luma of colour pictures, float32 (N, h, w)."""
    return images @ TO_LIGHT if images.shape[-1] == 3 else images[..., 0]


def _describe(images: Floats) -> tuple[Floats, Floats]:
    light = light_of(images)
    light = light - light.mean((1, 2), keepdims=True)
    contrast = np.sqrt(np.square(light).mean((1, 2), keepdims=True)) + FLOOR
    parts = [_layout(light / contrast), _texture(light / contrast)]
    if images.shape[-1] == 3:
        parts += [_colours(images @ to_colour / contrast) for to_colour in TO_COLOURS.T]
    return np.concatenate([even for even, _ in parts], 1), np.concatenate([odd for _, odd in parts], 1)


def _layout(light: Floats) -> tuple[Floats, Floats]:
    numbers = _cosines(light, LAYOUT)
    down, across = np.indices(numbers.shape[1:])
    kept = (down + across > 0) & (down + across <= HIGHEST)
    return numbers[:, kept & (across % 2 == 0)], numbers[:, kept & (across % 2 == 1)]


def _colours(colour: Floats) -> tuple[Floats, Floats]:
    numbers = _cosines(colour, COLOURS)
    return numbers[:, :, ::2].reshape(len(colour), -1), numbers[:, :, 1::2].reshape(len(colour), -1)


def _texture(light: Floats) -> tuple[Floats, Floats]:
    """Square roots of magnitudes. Mirroring swaps the diagonals: their sum stays, their difference turns."""
    height, width = light.shape[1:]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
    rows = (light * window) @ _waves(width).T
    down = _waves(height)
    one, other = (np.sqrt(np.abs(down @ half)) for half in (rows, rows.conj()))
    number = np.arange(TEXTURE)
    total = number[:, None] + number
    kept = (total > 0) & (total <= HIGHEST)
    turning = kept & (number > 0) & (number[:, None] > 0)
    return (one + other)[:, kept], (one - other)[:, turning]


def _cosines(light: Floats, count: int) -> Floats:
    """The first `count` x `count` numbers of the orthonormal cosine transform (DCT-II)."""
    down, across = (_dct(side, count) for side in light.shape[1:])
    return down @ (light @ across.T)


def _dct(side: int, count: int) -> Floats:
    angles = np.pi / side * np.outer(np.arange(count), np.arange(side) + 0.5)
    waves = np.sqrt(2 / side) * np.cos(angles)
    waves[0] /= np.sqrt(2)
    return (waves * SIDE / side).astype(np.float32)


def _waves(side: int) -> NDArray[np.complex64]:
    angles = -2 * np.pi / side * np.outer(np.arange(TEXTURE), np.arange(side))
    return (np.exp(1j * angles) * SIDE / side).astype(np.complex64)


def _averaging(side: int, smaller: int) -> Floats:
    """The share of each of `side` pixels in each of `smaller` ones, float32 (smaller, side)."""
    edges = np.linspace(0, side, smaller + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) * smaller / side).astype(np.float32)
