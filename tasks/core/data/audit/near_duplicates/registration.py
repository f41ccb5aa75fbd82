"""Correlation of the edges of two images after one is shifted, scaled, rotated and sheared to fit the other.

It finds copies that pixels at the best shift don't agree in: another crop, a zoom, a small rotation, other
colours or contrast, sharpening. Sources: registration: B. Lucas, T. Kanade, IJCAI 1981, with gain and offset
fitted at each step, and the mean slope of both images, which takes a third of the steps: S. Benhimane, E.
Malis, IROS 2004; edges instead of pixels, since different skies have the same pixels and no common edges.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit.descriptors import Floats, luma

BLOCK = 128  # pairs at a time; their pixels stay in the CPU's cache
# Steps at a quarter of the size, at half, and at full size, and the correlation from which on the next size
# is worth its cost: of copies, under 1 % lie below, of other close pairs half and then 9 of 10.
STEPS = (5, 3, 4)
HOPEFUL = (0.58, 0.68)
# Neither pairs below the first nor those above the second take the steps at full size. Of those of CIFAR-10
# that reach it, 3 of 10 lie below, 1 of 3,293 copies among them; of 2,800 above, 2 would end below `SAME`.
# What callers compare with, `SAME` and `ALIKE`, lies between the two.
DECIDED = (0.7, 0.95)
SMALLEST = 8  # pixels a side of the smallest size
MOST = 0.35  # largest change of each parameter, as a share of a side
SMOOTH = 0.8  # pixels; the noise of JPEG lies below it
EDGE = 2.0  # grey levels a pixel; a cell with a smaller mean gradient has no edges to compare
OVERLAP = 0.4  # least share of the image that both show
# Of pairs of CIFAR-10, some 7 of 16 from 0.88 to 0.93 were false by eye, and 1 of 106 above.
SAME = 0.93
# Correlation with another image from which on edges tell nothing: different digits fit, too.
ALIKE = 0.8
SQUARES = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])  # where `_monomials` has the products of two


def smoothed(images: Floats) -> Floats:
    """What is compared of images: their luma without noise, with even sides.

    Args:
        images: float32 (N, h, w, C), at least 16 pixels a side.

    Returns:
        float32 (N, h, w).
    """
    return _smooth(_even(luma(images)))


def edge_correlation(
    one: Floats, other: Floats, mirrored: NDArray[np.bool_], cells: int = 1
) -> NDArray[np.float64]:
    """The correlation of the luma's gradients of image pairs.

    Args:
        one, other: float32 (P, h, w), `smoothed`.
        mirrored: bool (P,), whether to mirror the second image of a pair.
        cells: The image is cut into so many down and across, and the median of their correlations counts:
            what covers less than half of an image, such as a caption, has no effect.

    Returns:
        float64 (P,), -1..1; 0 where hardly anything overlaps, and that at a smaller size where it is below
        `HOPEFUL`.
    """
    scores = np.zeros(len(one))
    for start in range(0, len(one), BLOCK):
        block = slice(start, start + BLOCK)
        turned = np.where(mirrored[block, None, None], other[block][:, :, ::-1], other[block])
        scores[block] = _block_correlation(one[block], turned, cells)
    return scores


def spread(smooth: Floats) -> NDArray[np.float64]:
    """How many pixels the edges of images are worth, if all were equally strong: float64 (N,), 0 to h w.

    The participation ratio of the squared gradients.

    Args:
        smooth: float32 (N, h, w), `smoothed`.
    """
    energy = np.square(_gradients(smooth)).sum(0).reshape(len(smooth), -1).astype(np.float64)
    return np.asarray(np.square(energy.sum(1)) / np.square(energy).sum(1).clip(1e-12))


def _block_correlation(a: Floats, b: Floats, cells: int) -> NDArray[np.float64]:
    sizes = _sizes(a, b)
    scores, motion, left = np.zeros(len(a)), np.zeros((len(a), 6), np.float32), np.arange(len(a))
    for number, sides in enumerate(sizes, len(STEPS) - len(sizes)):
        ours, theirs = (side[left] for side in sides)
        last = number == len(STEPS) - 1
        if last and cells == 1:
            scores[left] = _of_gradients(ours, theirs, motion, eroded=True, cells=1)
            undecided = (scores[left] >= DECIDED[0]) & (scores[left] < DECIDED[1])
            left, motion = left[undecided], motion[undecided]
            ours, theirs = ours[undecided], theirs[undecided]
        if not len(left):
            break
        motion = _register(ours, theirs, motion, STEPS[number], mean=not last)
        scores[left] = _of_gradients(ours, theirs, motion, eroded=last, cells=cells if last else 1)
        if not last:
            hopeful = scores[left] >= HOPEFUL[number]
            left, motion = left[hopeful], motion[hopeful]
    return scores


def _sizes(a: Floats, b: Floats) -> list[tuple[Floats, Floats]]:
    """Both images at a quarter of their size, at half, and as they are; those of at least `SMALLEST`."""
    sizes = [(a, b)]
    while len(sizes) < len(STEPS) and min(sizes[0][0].shape[1:]) >= 2 * SMALLEST:
        sizes.insert(0, (_half(sizes[0][0]), _half(sizes[0][1])))
    return sizes


def _of_gradients(a: Floats, b: Floats, motion: Floats, *, eroded: bool, cells: int) -> NDArray[np.float64]:
    moved, inside = _sampled(b, *_places(motion, *a.shape[1:]))
    both = (_eroded(inside) if eroded else inside).astype(np.float32)
    ours, theirs = _gradients(a) * both, _gradients(moved) * both
    if cells > 1:
        scores = _median_of_cells(ours, theirs, cells)
    else:
        product, scale_a, scale_b = (
            np.einsum("kpij,kpij->p", x, y).astype(np.float64)
            for x, y in ((ours, theirs), (ours, ours), (theirs, theirs))
        )
        scores = product / np.sqrt(scale_a * scale_b + 1)
    return np.where(inside.mean((1, 2)) >= OVERLAP, scores, 0.0)


def _median_of_cells(ours: Floats, theirs: Floats, cells: int) -> NDArray[np.float64]:
    """The median of the correlations of gradients (2, P, h, w) in cells that have edges: float64 (P,)."""
    down, across = (np.linspace(0, side, cells, endpoint=False).astype(int) for side in ours.shape[2:])
    product, scale_a, scale_b = (
        np.add.reduceat(np.add.reduceat(np.einsum("kpij,kpij->pij", x, y), down, 1), across, 2)
        for x, y in ((ours, theirs), (ours, ours), (theirs, theirs))
    )
    area = ours.shape[2] * ours.shape[3] / cells**2
    correlations = np.where(
        np.maximum(scale_a, scale_b) >= EDGE**2 * area, product / np.sqrt(scale_a * scale_b + 1), np.nan
    )
    flat = np.sort(correlations.reshape(len(product), -1), axis=1)  # cells without edges come last
    counts = np.isfinite(flat).sum(1)
    return np.where(counts, flat[np.arange(len(flat)), counts // 2], 1.0).astype(np.float64)


def _gradients(images: Floats) -> Floats:
    """float32 (2, P, h, w): down and across, one-sided at the border."""
    slopes = np.empty((2, *images.shape), np.float32)
    down, across = slopes
    np.subtract(images[:, 2:], images[:, :-2], out=down[:, 1:-1])
    np.subtract(images[:, :, 2:], images[:, :, :-2], out=across[:, :, 1:-1])
    down[:, 1:-1] *= 0.5
    across[:, :, 1:-1] *= 0.5
    down[:, 0], down[:, -1] = images[:, 1] - images[:, 0], images[:, -1] - images[:, -2]
    across[:, :, 0], across[:, :, -1] = (
        images[:, :, 1] - images[:, :, 0],
        images[:, :, -1] - images[:, :, -2],
    )
    return slopes


def _register(a: Floats, b: Floats, motion: Floats, steps: int, *, mean: bool) -> Floats:
    """The affine motion (P, 6) of `b` that fits `a` best, in shares of a side, by Gauss and Newton.

    With `mean`, steps follow the mean slope of both images. The last ones must not: what only `a` shows, such
    as corners that a rotation left black, would pull them away.
    """
    count, height, width = a.shape
    linear, squares = _monomials(height, width)
    slopes_a, sides = _gradients(a), np.repeat(np.array([height, width], np.float32), 3)
    for _ in range(steps):
        moved, inside = _sampled(b, *_places(motion, height, width))
        weight = inside.astype(np.float32)
        ours, theirs = _centred(a, weight), _centred(moved, weight)
        gain = np.maximum(_products(ours, theirs), 0) / (_products(theirs, theirs) + 1e-3)
        gain = gain[:, None, None]
        both = _gradients(moved)
        both *= gain
        both *= weight
        if mean:
            both += slopes_a * weight
            both /= 2
        theirs *= gain
        ours -= theirs
        normal, right = _normal_equations(
            both.reshape(2, count, -1), ours.reshape(count, -1), linear, squares
        )
        normal *= sides[:, None] * sides
        ridge = 1e-3 * (np.trace(normal, axis1=1, axis2=2) / 6 + 1)
        normal += ridge[:, None, None] * np.eye(6, dtype=np.float32)
        step = np.linalg.solve(normal, (right * sides)[..., None])[..., 0]
        motion = np.clip(motion + np.clip(step, -0.1, 0.1), -MOST, MOST)
    return motion


def _normal_equations(slopes: Floats, rest: Floats, linear: Floats, squares: Floats) -> tuple[Floats, Floats]:
    """The sums of Gauss' and Newton's method over the pixels, without an array for each of six parameters.

    A pixel's value changes with a parameter by its slope down or across, times 1 or its place down or across.

    Args:
        slopes: float32 (2, P, h w); down and across.
        rest: float32 (P, h w); what the parameters are to explain.
        linear, squares: `_monomials`.

    Returns:
        Of the changes less their means, with each other, (P, 6, 6), and with the rest, (P, 6).
    """
    pixels = slopes.shape[2]
    means = np.concatenate([slope @ linear.T for slope in slopes], 1) / np.float32(pixels)
    down, across = slopes
    normal = np.empty((slopes.shape[1], 6, 6), np.float32)
    for row, column, product in ((0, 0, down * down), (0, 3, down * across), (3, 3, across * across)):
        sums = (product @ squares.T)[:, SQUARES]
        normal[:, row : row + 3, column : column + 3] = sums
        normal[:, column : column + 3, row : row + 3] = sums
    normal -= means[:, :, None] * (means * np.float32(pixels))[:, None]
    right = np.concatenate([(slope * rest) @ linear.T for slope in slopes], 1)
    return normal, right - means * rest.sum(1, keepdims=True)


@cache
def _monomials(height: int, width: int) -> tuple[Floats, Floats]:
    """Of places (h w): 1, down and across (3, h w), and their products in the order of `SQUARES` (6, h w)."""
    down, across = (places.ravel() for places in _grid(height, width))
    linear = np.stack([np.ones_like(down), down, across])
    return linear, np.stack(
        [linear[one] * linear[other] for one, other in zip(*np.triu_indices(3), strict=True)]
    )


def _products(one: Floats, other: Floats) -> Floats:
    return np.asarray(np.einsum("pij,pij->p", one, other))


def _sampled(images: Floats, y: Floats, x: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Values of images (P, h, w) at places (P, h, w), bilinear, and which of these lie inside."""
    count, height, width = images.shape
    inside = (y >= 0) & (y <= height - 1) & (x >= 0) & (x <= width - 1)
    y, x = np.clip(y, 0, height - 1.001), np.clip(x, 0, width - 1.001)
    top, left = np.floor(y), np.floor(x)
    part_y, part_x = y - top, x - left
    places = (top * width + left).astype(np.int32).astype(np.intp)  # at once takes twice as long
    places += (np.arange(count) * (height * width))[:, None, None]
    values = images.ravel()
    corners = [values[offset:].take(places) for offset in (0, 1, width, width + 1)]
    upper = corners[0] + (corners[1] - corners[0]) * part_x
    lower = corners[2] + (corners[3] - corners[2]) * part_x
    return upper + (lower - upper) * part_y, inside


def _places(motion: Floats, height: int, width: int) -> tuple[Floats, Floats]:
    linear, _ = _monomials(height, width)
    still = np.array([0, 1, 0, 0, 0, 1], np.float32)
    shares = (motion + still).reshape(-1, 2, 3)
    sides = np.array([height, width], np.float32)
    places = (shares * sides[:, None]) @ linear + (sides[:, None] - 1) * np.float32(0.5)
    y, x = np.moveaxis(places, 1, 0).reshape(2, -1, height, width)
    return y, x


def _grid(height: int, width: int) -> tuple[Floats, Floats]:
    """Places relative to the centre, in shares of a side: float32 (h, w) each."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (y - (height - 1) / 2) / height, (x - (width - 1) / 2) / width


def _centred(values: Floats, weight: Floats) -> Floats:
    mean = _products(values, weight) / (weight.sum((1, 2)) + 1e-6)
    return np.asarray((values - mean[:, None, None]) * weight, np.float32)


def _even(images: Floats) -> Floats:
    """Without the last row and column of odd sides."""
    return images[:, : images.shape[1] // 2 * 2, : images.shape[2] // 2 * 2]


def _half(images: Floats) -> Floats:
    images = _even(images)
    return (
        images[:, ::2, ::2] + images[:, 1::2, ::2] + images[:, ::2, 1::2] + images[:, 1::2, 1::2]
    ) * np.float32(0.25)


def _smooth(images: Floats) -> Floats:
    """Blurred by a Gaussian of `SMOOTH` pixels; a product with a band matrix down and one across."""
    from scipy.ndimage import gaussian_filter1d  # imported here: a reused stage needs none of it

    down, across = (
        gaussian_filter1d(np.eye(side, dtype=np.float32), SMOOTH, axis=0, mode="nearest")
        for side in images.shape[1:]
    )
    return down @ (images @ across.T)


def _eroded(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Places whose neighbours are inside, too: the gradient there is that of the image."""
    rows = np.zeros_like(inside)
    rows[:, 1:-1] = inside[:, :-2] & inside[:, 1:-1] & inside[:, 2:]
    found = np.zeros_like(inside)
    found[:, :, 1:-1] = rows[:, :, :-2] & rows[:, :, 1:-1] & rows[:, :, 2:]
    return found
