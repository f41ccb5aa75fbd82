"""Pixel correlation of two images after one is mirrored or shifted to fit the other."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit.descriptors import Floats, luma

MAX_OFFSET = 3  # pixels in each direction that an image of at most 32 pixels a side is shifted by
BLOCK = 512  # pairs at a time
OFFSETS = np.arange(-MAX_OFFSET, MAX_OFFSET + 1)
EMPTY = 1.0  # sum of squared grey levels; below it an image has no contrast to compare


def pixel_correlation(one: Floats, other: Floats) -> NDArray[np.float64]:
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
        correlations[block] = _block_correlation(one[block], other[block])
    return correlations


def _block_correlation(one: Floats, other: Floats) -> NDArray[np.float64]:
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

    By the correlation over the overlap: fast normalised cross-correlation (Lewis, 1995), whose sums of
    one image over the overlap are those of all its pixels less what lies outside.
    """
    one, other = (images - _mean(images) for images in (one, other))
    height, width = (side - np.abs(OFFSETS) for side in one.shape[1:])
    count = height[:, None] * width
    sum_a, squares_a = (_sums(_sums(values, OFFSETS, 1), OFFSETS, 2) for values in (one, np.square(one)))
    scale_a = squares_a - np.square(sum_a) / count
    bands_b = [_sums(values, -OFFSETS, 1) for values in (other, np.square(other))]
    scores, spectrum = [], _spectrum(one)
    for step in (1, -1):  # as it is, and mirrored
        sum_b, squares_b = (_sums(bands[:, :, ::step], -OFFSETS, 2) for bands in bands_b)
        scale_b = squares_b - np.square(sum_b) / count
        product = _products(spectrum, _spectrum(other[:, :, ::step]), one) - sum_a * sum_b / count
        scale = np.sqrt(np.maximum(scale_a, 0) * np.maximum(scale_b, 0))
        scores.append(np.divide(product, scale, out=np.zeros_like(product), where=scale > EMPTY))
    places = np.stack(scores, axis=1)
    best = places.reshape(len(one), -1).argmax(1)
    mirrored, down, across = np.unravel_index(best, places.shape[1:])
    return np.stack([mirrored, down - MAX_OFFSET, across - MAX_OFFSET], axis=1)


def _sums(values: Floats, offsets: NDArray[np.int64], axis: int) -> Floats:
    """Sums of values (P, h, w) over the rows, or the columns, that overlap at each offset.

    An offset leaves out as many of the first ones; a negative one leaves out the last.

    Returns:
        float32, with the offsets in place of the axis.
    """
    total, every = values.sum(axis), (slice(None),) * axis
    left_out = [slice(offset) if offset >= 0 else slice(offset, None) for offset in offsets.tolist()]
    return np.stack([total - values[(*every, part)].sum(axis) for part in left_out], axis)


def _spectrum(images: Floats) -> NDArray[np.complexfloating]:
    """The transforms of scipy take half as long as those of numpy, for many small images."""
    from scipy import fft  # imported here: a reused stage needs none of it

    spectrum: NDArray[np.complexfloating] = fft.rfft2(
        images, [side + MAX_OFFSET for side in images.shape[1:]]
    )
    return spectrum


def _products(
    one: NDArray[np.complexfloating], other: NDArray[np.complexfloating], images: Floats
) -> NDArray[np.floating]:
    """Sums of products over the overlap, for every offset of `other`: (P, 2 MAX_OFFSET + 1, the same)."""
    from scipy import fft

    size = [side + MAX_OFFSET for side in images.shape[1:]]
    sums = fft.irfft2(one * other.conj(), size)
    return sums[:, OFFSETS[:, None], OFFSETS]


def _overlap(one: Floats, other: Floats, down: int, across: int) -> tuple[Floats, Floats]:
    """The parts of both images that overlap when `other` is shifted down and across."""
    (top_a, top_b), (left_a, left_b) = ((max(0, offset), max(0, -offset)) for offset in (down, across))
    height, width = one.shape[1] - abs(down), one.shape[2] - abs(across)
    return (
        one[:, top_a : top_a + height, left_a : left_a + width],
        other[:, top_b : top_b + height, left_b : left_b + width],
    )


def correlation_in_place(a: Floats, b: Floats) -> NDArray[np.float64]:
    """As `pixel_correlation`, of images that need no alignment."""
    a, b = _centred(a), _centred(b)
    product, scale_a, scale_b = (np.einsum("nk,nk->n", x, y) for x, y in ((a, b), (a, a), (b, b)))
    scale = np.sqrt(scale_a.astype(np.float64) * scale_b)
    return np.divide(product, scale, out=np.zeros(len(a)), where=scale > EMPTY)


def _centred(images: Floats) -> Floats:
    """Images (P, h, w, C) less the mean of each channel: (P, h w C).

    A whole row at a time, since loops over three channels take four times as long.
    """
    count, height, width, channels = images.shape
    rows = np.ascontiguousarray(images).reshape(count, height, width * channels)
    sums = rows.sum(1).reshape(count, width, channels).sum(1)
    mean = np.tile(sums / np.float32(height * width), width)
    return np.asarray(rows - mean[:, None], np.float32).reshape(count, -1)


def _mean(images: Floats) -> Floats:
    """The mean of images (P, h, w): (P, 1, 1)."""
    sums: Floats = np.einsum("nij->n", images)
    return np.asarray(sums / np.float32(images.shape[1] * images.shape[2]), np.float32)[:, None, None]
