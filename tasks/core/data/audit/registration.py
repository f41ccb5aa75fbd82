"""Correlation of the edges of two images after one is shifted, scaled, rotated and sheared to fit the other.

It finds copies that pixels at the best shift don't agree in: another crop, a zoom, a small rotation, other
colours or contrast, sharpening. Sources: registration: B. Lucas, T. Kanade, IJCAI 1981, with gain and offset
fitted at each step; edges instead of pixels, since different skies have the same pixels and no common edges.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit.descriptors import Floats, luma

BLOCK = 256  # pairs at a time
STEPS = (12, 10)  # at half size, at full size
MOST = 0.35  # largest change of each parameter, as a share of a side
SMOOTH = 0.8  # pixels; the noise of JPEG lies below it
OVERLAP = 0.4  # least share of the image that both show
HOPEFUL = 0.6  # correlation at half size from which on full size is worth its cost
# Of pairs of CIFAR-10, some 7 of 16 from 0.88 to 0.93 were false by eye, and 1 of 106 above.
SAME = 0.93
# Median correlation of nearest other images from which on edges tell nothing: different digits fit, too.
ALIKE = 0.8


def correlation(one: Floats, other: Floats, mirrored: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The correlation of the luma's gradients of image pairs.

    Args:
        one, other: float32 (P, h, w, C), at least 16 pixels a side.
        mirrored: bool (P,), whether to mirror the second image of a pair.

    Returns:
        float64 (P,), -1..1; 0 where hardly anything overlaps, and that at half size where it is below
        `HOPEFUL`.
    """
    scores = np.zeros(len(one))
    for start in range(0, len(one), BLOCK):
        block = slice(start, start + BLOCK)
        turned = np.where(mirrored[block, None, None, None], other[block][:, :, ::-1], other[block])
        scores[block] = _correlation(*(_smooth(_even(luma(images))) for images in (one[block], turned)))
    return scores


def _correlation(a: Floats, b: Floats) -> NDArray[np.float64]:
    small_a, small_b = _half(a), _half(b)
    motion = _register(small_a, small_b, np.zeros((len(a), 6), np.float32), STEPS[0])
    scores = _of_gradients(small_a, small_b, motion)
    hopeful = scores >= HOPEFUL
    if hopeful.any():
        a, b = a[hopeful], b[hopeful]
        scores[hopeful] = _of_gradients(a, b, _register(a, b, motion[hopeful], STEPS[1]))
    return scores


def _of_gradients(a: Floats, b: Floats, motion: Floats) -> NDArray[np.float64]:
    moved, inside = _sampled(b[..., None], *_places(motion, *a.shape[1:]))
    ours, theirs = map(_gradients, (a, moved[..., 0]))
    both = _eroded(inside)[..., None]
    product, scale_a, scale_b = (
        (x * y * both).sum((1, 2, 3), dtype=np.float64)
        for x, y in ((ours, theirs), (ours, ours), (theirs, theirs))
    )
    return np.where(inside.mean((1, 2)) >= OVERLAP, product / np.sqrt(scale_a * scale_b + 1), 0.0)


def _gradients(images: Floats) -> Floats:
    """float32 (P, h, w, 2): down and across."""
    down, across = np.gradient(images, axis=(1, 2))
    return np.stack([down, across], axis=-1)


def _register(a: Floats, b: Floats, motion: Floats, steps: int) -> Floats:
    """The affine motion (P, 6) of `b` that fits `a` best, in shares of a side, by Gauss and Newton."""
    height, width = a.shape[1:]
    down, across = _grid(height, width)
    slope_y, slope_x = np.gradient(b, axis=(1, 2))
    channels = np.stack([b, slope_y * height, slope_x * width], axis=-1)
    for _ in range(steps):
        values, inside = _sampled(channels, *_places(motion, height, width))
        weight = inside.astype(np.float32)
        ours, theirs = _centred(a, weight), _centred(values[..., 0], weight)
        gain = np.maximum((ours * theirs).sum((1, 2)), 0) / ((theirs**2).sum((1, 2)) + 1e-3)
        scaled = weight * gain[:, None, None]
        y, x = values[..., 1] * scaled, values[..., 2] * scaled
        slopes = np.stack([y, y * down, y * across, x, x * down, x * across], -1).reshape(len(a), -1, 6)
        slopes -= slopes.mean(1, keepdims=True)
        normal = slopes.transpose(0, 2, 1) @ slopes
        ridge = 1e-3 * (np.trace(normal, axis1=1, axis2=2) / 6 + 1)
        normal += ridge[:, None, None] * np.eye(6, dtype=np.float32)
        rest = (ours - gain[:, None, None] * theirs).reshape(len(a), -1, 1)
        step = np.linalg.solve(normal, slopes.transpose(0, 2, 1) @ rest)[..., 0]
        motion = np.clip(motion + np.clip(step, -0.1, 0.1), -MOST, MOST)
    return motion


def _sampled(images: Floats, y: Floats, x: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Values of images (P, h, w, K) at places (P, h, w), bilinear, and which of these lie inside."""
    count, height, width = images.shape[:3]
    inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
    y, x = np.clip(y, 0, height - 1.001), np.clip(x, 0, width - 1.001)
    top, left = y.astype(np.int32), x.astype(np.int32)
    part_y, part_x = (y - top)[..., None], (x - left)[..., None]
    flat, first = images.reshape(count, height * width, -1), top * width + left
    rows = np.arange(count)[:, None, None]
    corners = [flat[rows, first + offset] for offset in (0, 1, width, width + 1)]
    upper = corners[0] * (1 - part_x) + corners[1] * part_x
    lower = corners[2] * (1 - part_x) + corners[3] * part_x
    return upper * (1 - part_y) + lower * part_y, inside


def _places(motion: Floats, height: int, width: int) -> tuple[Floats, Floats]:
    down, across = _grid(height, width)
    p = motion[:, :, None, None]
    y = p[:, 0] + (1 + p[:, 1]) * down + p[:, 2] * across
    x = p[:, 3] + p[:, 4] * down + (1 + p[:, 5]) * across
    return y * height + (height - 1) / 2, x * width + (width - 1) / 2


def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Places relative to the centre, in shares of a side: float32 (h, w) each."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (y - (height - 1) / 2) / height, (x - (width - 1) / 2) / width


def _centred(values: Floats, weight: Floats) -> Floats:
    mean = (values * weight).sum((1, 2)) / (weight.sum((1, 2)) + 1e-6)
    return np.asarray((values - mean[:, None, None]) * weight, np.float32)


def _even(images: Floats) -> Floats:
    """Without the last row and column of odd sides."""
    return images[:, : images.shape[1] // 2 * 2, : images.shape[2] // 2 * 2]


def _half(images: Floats) -> Floats:
    return images.reshape(len(images), images.shape[1] // 2, 2, images.shape[2] // 2, 2).mean((2, 4))


def _smooth(images: Floats) -> Floats:
    from scipy.ndimage import gaussian_filter  # imported here: a reused stage needs none of it

    return np.asarray(gaussian_filter(images, (0, SMOOTH, SMOOTH), mode="nearest"), np.float32)


def _eroded(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Places whose neighbours are inside, too: the gradient there is that of the image."""
    from scipy.ndimage import binary_erosion

    return np.asarray(binary_erosion(inside, np.ones((1, 3, 3), bool)))
