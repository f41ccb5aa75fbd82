"""Pixel correlation of two images after one is mirrored or shifted to fit the other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit.descriptors import Floats, luma

MAX_OFFSET = 3  # pixels in each direction that an image of at most 32 pixels a side is shifted by
BLOCK = 512  # pairs at a time; what is computed of them stays in the CPU's cache
OFFSETS = np.arange(-MAX_OFFSET, MAX_OFFSET + 1)
# Luma's correlation below which the channels are not compared: of 18,995 close pairs of CIFAR-10, 4 in 10.
# The smallest limit of callers is 0.9; of the 1,281 pairs above theirs, luma has 0.914 or more.
HOPELESS = 0.8
EMPTY = 1.0  # sum of squared grey levels; below it an image has no contrast to compare
NOWHERE = -1
Numbers = NDArray[np.int64]


def pixel_correlation(images: Floats, one: Numbers, other: Numbers) -> NDArray[np.float64]:
    """The correlation of the pixels of image pairs at their best alignment.

    The second image of each pair is mirrored or not, and shifted, such that the luma of the two correlates
    best. Brightness and contrast have no effect: each channel's mean over the overlap is subtracted.

    Args:
        images: float32 (N, h, w, C), at least one.
        one, other: int64 (P,), 0..N-1; the images of each pair.

    Returns:
        float64 (P,), -1..1; that of luma alone where it is below `HOPELESS`; 0 for an image without contrast.
    """
    correlations, places, lumas = np.zeros(len(one)), np.zeros(len(one), np.int64), _Lumas.of(images)
    for part in (slice(start, start + BLOCK) for start in range(0, len(one), BLOCK)):
        places[part], correlations[part] = lumas.best(one[part], other[part])
    places[correlations < HOPELESS] = NOWHERE
    for place in np.unique(places[places != NOWHERE]).tolist():
        pairs = np.flatnonzero(places == place)
        ours, theirs = _overlap(place, *images.shape[1:3])
        for start in range(0, len(pairs), BLOCK):
            block = pairs[start : start + BLOCK]
            correlations[block] = correlation_in_place(
                images[:, *ours][one[block]], images[:, *theirs][other[block]]
            )
    return correlations


@dataclass(frozen=True)
class _Lumas:
    """What the best alignment of two images follows from, calculated once for each image.

    Args:
        spectra: complex64 (2, N, h + MAX_OFFSET, w'); of each image, and of the mirrored one.
        sums: float32 (N, offsets, offsets); the sum of what an offset down and across leaves of an image,
            divided by the root of the number of its pixels.
        scales: The same shape; the root of its sum of squares about the mean.
        size: Height and width of the images.
    """

    spectra: NDArray[np.complexfloating]
    sums: Floats
    scales: Floats
    size: tuple[int, int]

    @classmethod
    def of(cls, images: Floats) -> "_Lumas":
        grey = luma(images)
        grey = grey - _mean(grey)
        height, width = (side - np.abs(OFFSETS) for side in grey.shape[1:])
        sums, squares = (_sums(_sums(values, 1), 2) for values in (grey, np.square(grey)))
        sums /= np.sqrt(height[:, None] * width).astype(np.float32)
        scales = np.sqrt(np.maximum(squares - np.square(sums), 0))
        spectra = np.stack([_spectrum(grey), _spectrum(grey[:, :, ::-1])])
        return cls(spectra, sums, scales, grey.shape[1:])

    def best(self, one: Numbers, other: Numbers) -> tuple[Numbers, Floats]:
        """The best alignment of each pair, as `_overlap` counts them, int64 (P,), and its correlation (P,).

        By the correlation over the overlap: fast normalised cross-correlation (Lewis, 1995), whose sums of
        one image over the overlap are those of all its pixels less what lies outside.
        """
        scores, ours = [], self.spectra[0][one]
        for theirs, step in zip(self.spectra, (-1, 1), strict=True):  # as it is, and mirrored
            sums, scales = (
                values[one] * values[:, ::-1, ::step][other] for values in (self.sums, self.scales)
            )
            product = _products(ours, theirs[other], self.size) - sums
            scores.append(np.divide(product, scales, out=np.zeros_like(product), where=scales > EMPTY))
        every = np.stack(scores, axis=1).reshape(len(one), -1)
        places = every.argmax(1)
        return places, every[np.arange(len(one)), places]


def _sums(values: Floats, axis: int) -> Floats:
    """Sums of values (N, h, w) over the rows, or the columns, that are left at each offset.

    An offset leaves out as many of the first ones; a negative one leaves out the last.

    Returns:
        float32, with the offsets in place of the axis.
    """
    total, every = values.sum(axis), (slice(None),) * axis
    left_out = [slice(offset) if offset >= 0 else slice(offset, None) for offset in OFFSETS.tolist()]
    return np.stack([total - values[(*every, part)].sum(axis) for part in left_out], axis)


def _spectrum(images: Floats) -> NDArray[np.complexfloating]:
    """The transforms of scipy take half as long as those of numpy, for many small images."""
    from scipy import fft  # imported here: a reused stage needs none of it

    spectrum: NDArray[np.complexfloating] = fft.rfft2(
        images, [side + MAX_OFFSET for side in images.shape[1:]]
    )
    return spectrum


def _products(
    one: NDArray[np.complexfloating], other: NDArray[np.complexfloating], size: tuple[int, int]
) -> Floats:
    """Sums of products over the overlap, for every offset of `other`: (P, 2 MAX_OFFSET + 1, the same)."""
    from scipy import fft

    sums: Floats = fft.irfft2(one * other.conj(), [side + MAX_OFFSET for side in size])
    return sums[:, OFFSETS[:, None], OFFSETS]


def _overlap(place: int, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of both images that overlap at an alignment.

    Args:
        place: Its number, in the order of mirrored, down, across.
        height, width: Of the images.
    """
    mirrored, *offsets = np.unravel_index(place, (2, len(OFFSETS), len(OFFSETS)))
    (top_a, top_b), (left_a, left_b) = (
        (max(0, shift), max(0, -shift)) for shift in (int(offset) - MAX_OFFSET for offset in offsets)
    )
    rows, columns = height - top_a - top_b, width - left_a - left_b
    last = width - 1 - left_b
    across = slice(last, last - columns if last >= columns else None, -1)
    theirs = across if mirrored else slice(left_b, left_b + columns)
    ours = slice(top_a, top_a + rows), slice(left_a, left_a + columns)
    return ours, (slice(top_b, top_b + rows), theirs)


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
