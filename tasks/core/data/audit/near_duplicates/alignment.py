"""Pixel correlation of two images after one is mirrored or shifted to fit the other."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit.descriptors import Floats, luma

MAX_OFFSET = 3  # pixels in each direction that an image of at most 32 pixels a side is shifted by
BLOCK = 512  # pairs at a time
EMPTY = 1.0  # sum of squared grey levels; below it an image has no contrast to compare


def correlation(one: Floats, other: Floats) -> NDArray[np.float64]:
    """The correlation of the pixels of image pairs at their best alignment.

    The second image of each pair is mirrored or not, and shifted, such that the luma of the two correlates
    best. Brightness and contrast have no effect: each channel's mean over the overlap is subtracted.

    Args:
        one, other: float32 (P, h, w, C).

    Returns:
        float64 (P,), -1..1; 0 for an image without contrast.
    """
    correlations = np.zeros(len(one))
    for start in range(0, len(one), BLOCK):
        block = slice(start, start + BLOCK)
        correlations[block] = _correlation(one[block], other[block])
    return correlations


def _correlation(one: Floats, other: Floats) -> NDArray[np.float64]:
    offsets = _best_offsets(luma(one), luma(other))
    correlations = np.zeros(len(one))
    for offset in np.unique(offsets, axis=0):
        is_pair = (offsets == offset).all(1)
        oriented = other[is_pair][:, :, ::-1] if offset[0] else other[is_pair]
        correlations[is_pair] = correlation_in_place(
            *_overlap(one[is_pair], oriented, int(offset[1]), int(offset[2]))
        )
    return correlations


def _best_offsets(one: Floats, other: Floats) -> NDArray[np.int64]:
    """Whether to mirror the other image, and how far to shift it down and across: int64 (P, 3).

    By the correlation over the overlap: fast normalised cross-correlation (Lewis, 1995). The sums over the
    overlap are Fourier transforms too.
    """
    one, other = (image - image.mean((1, 2), keepdims=True) for image in (one, other))
    ones = _spectrum(np.ones_like(one[:1]))
    spectrum, count = _spectrum(one), _sums(ones, ones, one)
    sum_a = _sums(spectrum, ones, one)
    scale_a = _sums(_spectrum(np.square(one)), ones, one) - np.square(sum_a) / count
    scores = []
    for turned in (other, other[:, :, ::-1]):
        theirs = _spectrum(turned)
        sum_b = _sums(ones, theirs, one)
        scale_b = _sums(ones, _spectrum(np.square(turned)), one) - np.square(sum_b) / count
        product = _sums(spectrum, theirs, one) - sum_a * sum_b / count
        scale = np.sqrt(np.maximum(scale_a, 0) * np.maximum(scale_b, 0))
        scores.append(np.divide(product, scale, out=np.zeros_like(product), where=scale > EMPTY))
    places = np.stack(scores, axis=1)
    best = places.reshape(len(one), -1).argmax(1)
    mirrored, down, across = np.unravel_index(best, places.shape[1:])
    return np.stack([mirrored, down - MAX_OFFSET, across - MAX_OFFSET], axis=1)


def _spectrum(images: Floats) -> NDArray[np.complexfloating]:
    return np.fft.rfft2(images, [side + MAX_OFFSET for side in images.shape[1:]])


def _sums(
    one: NDArray[np.complexfloating], other: NDArray[np.complexfloating], images: Floats
) -> NDArray[np.floating]:
    """Sums of products over the overlap, for every offset of `other`: (P, 2 MAX_OFFSET + 1, the same)."""
    size = [side + MAX_OFFSET for side in images.shape[1:]]
    sums = np.roll(np.fft.irfft2(one * other.conj(), size), (MAX_OFFSET, MAX_OFFSET), (1, 2))
    return sums[:, : 2 * MAX_OFFSET + 1, : 2 * MAX_OFFSET + 1]


def _overlap(one: Floats, other: Floats, down: int, across: int) -> tuple[Floats, Floats]:
    """The parts of both images that overlap when `other` is shifted down and across."""
    (top_a, top_b), (left_a, left_b) = ((max(0, offset), max(0, -offset)) for offset in (down, across))
    height, width = one.shape[1] - abs(down), one.shape[2] - abs(across)
    return (
        one[:, top_a : top_a + height, left_a : left_a + width],
        other[:, top_b : top_b + height, left_b : left_b + width],
    )


def correlation_in_place(a: Floats, b: Floats) -> NDArray[np.float64]:
    """As `correlation`, of images that need no alignment."""
    a, b = a - a.mean((1, 2), keepdims=True), b - b.mean((1, 2), keepdims=True)
    product, scale_a, scale_b = (np.einsum("nijc,nijc->n", x, y) for x, y in ((a, b), (a, a), (b, b)))
    scale = np.sqrt(scale_a.astype(np.float64) * scale_b)
    return np.divide(product, scale, out=np.zeros(len(a)), where=scale > EMPTY)
