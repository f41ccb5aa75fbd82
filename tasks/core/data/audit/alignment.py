"""Whether two pictures show the same, pixel by pixel, once one is mirrored or moved to fit the other."""

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit.descriptors import Floats, light_of

REACH = 3  # pixels that one picture is moved by, each way, of at most 32
BLOCK = 512  # pairs at a time
EMPTY = 1.0  # sum of squared grey levels below which a picture has nothing to compare


def correlation(one: Floats, other: Floats) -> NDArray[np.float64]:
    """The correlation of the pixels of pairs of pictures, where they fit best.

    Each pair is laid on each other as their light fits best, mirrored or not. Brightness and contrast don't
    count: each channel's mean is taken off over the part that overlaps.

    Args:
        one, other: float32 (P, h, w, C)

    Returns:
        float64 (P,), -1..1; 0 for an empty picture
    """
    found = np.zeros(len(one))
    for start in range(0, len(one), BLOCK):
        block = slice(start, start + BLOCK)
        found[block] = _correlation(one[block], other[block])
    return found


def _correlation(one: Floats, other: Floats) -> NDArray[np.float64]:
    moves = _best_moves(light_of(one), light_of(other))
    found = np.zeros(len(one))
    for move in np.unique(moves, axis=0):
        pairs = (moves == move).all(1)
        turned = other[pairs][:, :, ::-1] if move[0] else other[pairs]
        found[pairs] = _correlate(*_overlap(one[pairs], turned, int(move[1]), int(move[2])))
    return found


def _best_moves(one: Floats, other: Floats) -> NDArray[np.int64]:
    """Whether to mirror, and how far down and across to move, the other picture: int64 (P, 3)."""
    scores = np.stack([_fits(one, other), _fits(one, other[:, :, ::-1])], axis=1)
    best = scores.reshape(len(one), -1).argmax(1)
    mirrored, down, across = np.unravel_index(best, scores.shape[1:])
    return np.stack([mirrored, down - REACH, across - REACH], axis=1)


def _fits(one: Floats, other: Floats) -> NDArray[np.float64]:
    """Correlation of what overlaps, for every move: (P, 2 REACH + 1, 2 REACH + 1).

    Fast normalised cross-correlation (Lewis, 1995), its sums over the overlap by Fourier transforms too.
    """
    one, other = (light - light.mean((1, 2), keepdims=True) for light in (one, other))
    everywhere = np.ones_like(one[:1])
    count = _sums(everywhere, everywhere)
    sum_a, sum_b = _sums(one, everywhere), _sums(everywhere, other)
    product = _sums(one, other) - sum_a * sum_b / count
    scale_a = _sums(np.square(one), everywhere) - np.square(sum_a) / count
    scale_b = _sums(everywhere, np.square(other)) - np.square(sum_b) / count
    scale = np.sqrt(np.maximum(scale_a, 0) * np.maximum(scale_b, 0))
    return np.divide(product, scale, out=np.zeros_like(product), where=scale > EMPTY)


def _sums(one: Floats, other: Floats) -> NDArray[np.float64]:
    """Sums over the overlap of products, for every move of `other`."""
    size = [side + REACH for side in one.shape[1:]]
    waves = np.fft.rfft2(one, size) * np.fft.rfft2(other, size).conj()
    sums = np.roll(np.fft.irfft2(waves, size), (REACH, REACH), (1, 2))
    return sums[:, : 2 * REACH + 1, : 2 * REACH + 1]


def _overlap(one: Floats, other: Floats, down: int, across: int) -> tuple[Floats, Floats]:
    """The parts that lie on each other when `other` is moved down and across."""
    (top_a, top_b), (left_a, left_b) = ((max(0, move), max(0, -move)) for move in (down, across))
    height, width = one.shape[1] - abs(down), one.shape[2] - abs(across)
    return (
        one[:, top_a : top_a + height, left_a : left_a + width],
        other[:, top_b : top_b + height, left_b : left_b + width],
    )


def _correlate(a: Floats, b: Floats) -> NDArray[np.float64]:
    a, b = a - a.mean((1, 2), keepdims=True), b - b.mean((1, 2), keepdims=True)
    product, scale_a, scale_b = (np.einsum("nijc,nijc->n", x, y) for x, y in ((a, b), (a, a), (b, b)))
    scale = np.sqrt(scale_a.astype(np.float64) * scale_b)
    return np.divide(product, scale, out=np.zeros(len(a)), where=scale > EMPTY)
