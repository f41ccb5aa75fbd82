"""Image descriptors that change little when an image is recompressed, shifted a little or brightened.

A descriptor has three parts: the layout of the luma (low frequencies of a cosine transform), the texture
(magnitudes of a windowed Fourier transform, which a shift does not change), and the layout of the colours.
Each part is split into numbers that mirroring does not change and numbers whose sign it flips. An image and
its mirror image are therefore compared in the same step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
BLOCK = 256  # images at a time; they stay in the CPU's cache
# Bytes of full-size images in memory at a time. Larger arrays are returned to the system after use, and where
# memory is short each of their pages must be reclaimed again (4 MB: 196 s in a cgroup instead of 46 s).
PORTION = 1 << 20
TO_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
TO_COLOURS = np.array([[0.5, -0.1687], [-0.4187, -0.3313], [-0.0813, 0.5]], np.float32)

Floats = NDArray[np.float32]
Images = NDArray[np.uint8] | Floats  # full-size, or reduced by `reduced`


@dataclass(frozen=True)
class Descriptors:
    """Descriptors of N images.

    Args:
        even: float32 (N, E); mirroring the image does not change them.
        odd: float32 (N, O); mirroring the image flips their sign.
    """

    even: Floats
    odd: Floats

    @classmethod
    def join(cls, parts: Sequence["Descriptors"]) -> "Descriptors":
        """The descriptors of several groups of images as one."""
        return cls(
            np.concatenate([part.even for part in parts]), np.concatenate([part.odd for part in parts])
        )


def describe(images: Images) -> Descriptors:
    """Compute the descriptors of images of at least `SMALLEST` pixels a side.

    Args:
        images: uint8 or float32 (N, H, W, C), C = 1 or 3; may be memory-mapped.
    """
    return Descriptors.join([_describe(block) for block in blocks(images)])


def blocks(images: Images) -> Iterator[Floats]:
    """The images, averaged down, a block at a time: float32 (n, h, w, C), 0..255."""
    small = max(images.shape[1:3]) <= SIDE
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK]
        parts = [slice(None)] if small else portions(len(block), block[:1].nbytes)
        yield joined([reduced(block[part]) for part in parts])
        mmap.release_pages(images)


def joined(parts: list[Floats]) -> Floats:
    """The parts as one array; a single one is not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


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
    if images.shape[-1] != 3:
        return images[..., 0]
    # Not a product of matrices: with a single column, BLAS' threads wait for each other 20 times as long.
    luma = images[..., 0] * TO_LUMA[0]
    luma += images[..., 1] * TO_LUMA[1]
    luma += images[..., 2] * TO_LUMA[2]
    return luma


def _describe(images: Floats) -> Descriptors:
    count, height, width, channels = images.shape
    lightness = luma(images).reshape(count, -1)
    lightness = lightness - lightness.mean(1, keepdims=True)
    contrast = np.sqrt(np.square(lightness).mean(1, keepdims=True)) + FLOOR
    layout, texture = np.split(lightness @ _luma_waves(height, width) / contrast, [len(_KEPT[0])], 1)
    parts = [_by_parity(layout, _KEPT[1]), _texture(texture)]
    if channels == 3:
        flat = images.reshape(count, -1)
        across = np.tile(np.arange(COLOURS), COLOURS)
        parts += [_by_parity(flat @ waves / contrast, across) for waves in _colour_waves(height, width)]
    return Descriptors(
        np.concatenate([even for even, _ in parts], 1), np.concatenate([odd for _, odd in parts], 1)
    )


def _by_parity(coefficients: Floats, across: NDArray[np.int64]) -> tuple[Floats, Floats]:
    return coefficients[:, across % 2 == 0], coefficients[:, across % 2 == 1]


def _texture(parts: Floats) -> tuple[Floats, Floats]:
    """Square roots of magnitudes. Mirroring swaps the diagonals: their sum is even, their difference odd."""
    real, imaginary = np.split(parts, 2, 1)
    falling, rising = np.split(np.sqrt(np.hypot(real, imaginary)), 2, 1)
    down, across = _FREQUENCIES
    return falling + rising, (falling - rising)[:, (down > 0) & (across > 0)]


def _kept(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The frequencies down and across, below `count`, that sum to 1 to `HIGHEST`."""
    down, across = np.indices((count, count))
    is_kept = (down + across > 0) & (down + across <= HIGHEST)
    return down[is_kept], across[is_kept]


_KEPT, _FREQUENCIES = _kept(LAYOUT), _kept(TEXTURE)


@lru_cache
def _luma_waves(height: int, width: int) -> Floats:
    """What a luma (height * width,) is multiplied with: float32 (height * width, waves).

    One product with all waves takes a third of the time of one down and one across for each image.
    """
    layout = (_dct(side, LAYOUT)[kept] for side, kept in zip((height, width), _KEPT, strict=True))
    cosines = np.einsum("ky,kx->yxk", *layout)
    window = np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1])[..., None]
    down, across = (_waves(side)[kept] for side, kept in zip((height, width), _FREQUENCIES, strict=True))
    diagonals = [np.einsum("ky,kx->yxk", down, other) * window for other in (across, across.conj())]
    fourier = np.concatenate(diagonals, 2)
    waves = np.concatenate([cosines, fourier.real, fourier.imag], 2)
    return np.ascontiguousarray(waves.reshape(height * width, -1), np.float32)


@lru_cache
def _colour_waves(height: int, width: int) -> tuple[Floats, Floats]:
    """What the pixels (height * width * 3,) are multiplied with, for each of two colours."""
    waves = np.einsum("ky,lx->yxkl", _dct(height, COLOURS), _dct(width, COLOURS))
    of_one, of_other = (
        np.einsum("yxkl,c->yxckl", waves, to_colour).reshape(height * width * 3, -1)
        for to_colour in TO_COLOURS.T
    )
    return of_one, of_other


def _dct(side: int, count: int) -> Floats:
    """The first `count` waves of the orthonormal cosine transform (DCT-II): float32 (count, side)."""
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
