"""Image descriptors that change little when an image is recompressed, shifted a little or brightened.

A descriptor has three parts: the layout of the luma (low frequencies of a cosine transform), the texture
(magnitudes of a windowed Fourier transform, which a shift does not change), and the layout of the colours.
Each part is split into numbers that mirroring does not change and numbers whose sign it flips. An image and
its mirror image are therefore compared in the same step.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.loader import mmap

SIDE = 32  # pixels; larger images are averaged down to it
SMALLEST = 16  # pixels; in smaller ones, images of a class hardly differ more than an image and its copy
LAYOUT = 8  # cosine frequencies of the luma, down and across
COLOURS = 3  # cosine frequencies of the colours, down and across
TEXTURE = 6  # Fourier frequencies of the luma, down and across
HIGHEST = 7  # coefficients whose two frequencies sum to more are dropped
FLOOR = 2.0  # grey levels added to the contrast, so that an empty image's noise is not amplified
BLOCK = 2048  # images at a time
# Bytes of full-size images in memory at a time. Larger arrays are returned to the system after use, and where
# memory is short each of their pages must be reclaimed again (4 MB: 196 s in a cgroup instead of 46 s).
PORTION = 1 << 20
TO_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
TO_COLOURS = np.array([[0.5, -0.1687], [-0.4187, -0.3313], [-0.0813, 0.5]], np.float32)

Floats = NDArray[np.float32]
Images = NDArray[np.uint8] | Floats  # full-size, or reduced by `reduced`


@dataclass(frozen=True)
class Features:
    """Descriptors of N images.

    Args:
        even: float32 (N, E); mirroring the image does not change them.
        odd: float32 (N, O); mirroring the image flips their sign.
    """

    even: Floats
    odd: Floats


def describe(images: Images) -> Features:
    """Compute the descriptors of images of at least `SMALLEST` pixels a side.

    Args:
        images: uint8 or float32 (N, H, W, C), C = 1 or 3; may be memory-mapped.
    """
    parts = [_describe(block) for block in blocks(images)]
    return Features(np.concatenate([even for even, _ in parts]), np.concatenate([odd for _, odd in parts]))


def blocks(images: Images) -> Iterator[Floats]:
    """The images, averaged down, a block at a time: float32 (n, h, w, C), 0..255."""
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        parts = portions(len(block), block[:1].nbytes)
        yield np.concatenate([reduced(block[part]) for part in parts])
        mmap.release_pages(images)


def portions(count: int, image_bytes: int) -> Iterator[slice]:
    """Slices of `count` images that take at most `PORTION` bytes at full size."""
    size = max(1, PORTION // max(1, image_bytes))
    return (slice(start, start + size) for start in range(0, count, size))


def reduced(images: Images, height: int = SIDE, width: int = SIDE) -> Floats:
    """Average images down to at most this height and width; smaller ones are not enlarged.

    Args:
        images: uint8 or float32 (N, H, W, C).
        height, width: In pixels.

    Returns:
        float32 (N, h, w, C), 0..255.
    """
    sides = zip(images.shape[1:3], (height, width), strict=True)
    down, across = (_averaging(side, min(side, limit)) for side, limit in sides)
    if len(down) == images.shape[1] and len(across) == images.shape[2]:
        return np.asarray(images, np.float32)
    return np.stack([np.einsum("yi,ijc,xj->yxc", down, image, across, optimize=True) for image in images])


def luma(images: Floats) -> Floats:
    """The luma of images (N, h, w, C), C = 1 or 3: float32 (N, h, w)."""
    return images @ TO_LUMA if images.shape[-1] == 3 else images[..., 0]


def _describe(images: Floats) -> tuple[Floats, Floats]:
    lightness = luma(images)
    lightness = lightness - lightness.mean((1, 2), keepdims=True)
    contrast = np.sqrt(np.square(lightness).mean((1, 2), keepdims=True)) + FLOOR
    parts = [_layout(lightness / contrast), _texture(lightness / contrast)]
    if images.shape[-1] == 3:
        parts += [_colours(images @ to_colour / contrast) for to_colour in TO_COLOURS.T]
    return np.concatenate([even for even, _ in parts], 1), np.concatenate([odd for _, odd in parts], 1)


def _layout(lightness: Floats) -> tuple[Floats, Floats]:
    coefficients = _cosines(lightness, LAYOUT)
    down, across = np.indices(coefficients.shape[1:])
    is_kept = (down + across > 0) & (down + across <= HIGHEST)
    return coefficients[:, is_kept & (across % 2 == 0)], coefficients[:, is_kept & (across % 2 == 1)]


def _colours(colour: Floats) -> tuple[Floats, Floats]:
    coefficients = _cosines(colour, COLOURS)
    return coefficients[:, :, ::2].reshape(len(colour), -1), coefficients[:, :, 1::2].reshape(len(colour), -1)


def _texture(lightness: Floats) -> tuple[Floats, Floats]:
    """Square roots of magnitudes. Mirroring swaps the diagonals: their sum is even, their difference odd."""
    height, width = lightness.shape[1:]
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
    rows = (lightness * window) @ _waves(width).T
    down = _waves(height)
    falling, rising = (np.sqrt(np.abs(down @ spectrum)) for spectrum in (rows, rows.conj()))
    frequency = np.arange(TEXTURE)
    total = frequency[:, None] + frequency
    is_kept = (total > 0) & (total <= HIGHEST)
    is_odd = is_kept & (frequency > 0) & (frequency[:, None] > 0)
    return (falling + rising)[:, is_kept], (falling - rising)[:, is_odd]


def _cosines(channel: Floats, count: int) -> Floats:
    """The first `count` x `count` coefficients of the orthonormal cosine transform (DCT-II)."""
    down, across = (_dct(side, count) for side in channel.shape[1:])
    return down @ (channel @ across.T)


def _dct(side: int, count: int) -> Floats:
    angles = np.pi / side * np.outer(np.arange(count), np.arange(side) + 0.5)
    waves = np.sqrt(2 / side) * np.cos(angles)
    waves[0] /= np.sqrt(2)
    return (waves * SIDE / side).astype(np.float32)


def _waves(side: int) -> NDArray[np.complex64]:
    angles = -2 * np.pi / side * np.outer(np.arange(TEXTURE), np.arange(side))
    return (np.exp(1j * angles) * SIDE / side).astype(np.complex64)


def _averaging(side: int, smaller: int) -> Floats:
    """The weight of each of `side` pixels in each of `smaller` ones, float32 (smaller, side)."""
    edges = np.linspace(0, side, smaller + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) * smaller / side).astype(np.float32)
