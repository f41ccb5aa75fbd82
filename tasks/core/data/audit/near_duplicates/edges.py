"""Which pairs of images have the same edges, for which images that says anything, and what details deny.

At 32 pixels a side, a text is a row of grey specks: different pages of one layout look the same. At the size
of the tensors their words differ, while a copy keeps its edges there as well.
"""

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.audit import descriptors
from tasks.core.data.audit.descriptors import Descriptors, Floats
from tasks.core.data.audit.image_set import ImageSet, ImageSubset
from tasks.core.data.audit.near_duplicates import neighbours, registration
from tasks.core.data.audit.near_duplicates.perturbations import Perturbations

BLOCK = 1024  # pairs whose pixels are in memory at a time
DETAIL = 96  # pixels a side at which details are compared, or the size that most images came in, if smaller
# Pixels of 32x32 that an image's edges are worth; photos of CIFAR-10 and flowers have 100 to 560, one light
# in the night 10 to 39.
SPREAD = 80
CELLS = 4  # down and across: a caption covers few of them
# 150 pairs of different screenshots of one layout, and 8 of invoices, are at 0.92 or below; 98 % of the
# recompressed thumbnails of flowers, pages and scans at 0.976 or above. At 64 pixels the gap is smaller.
SAME = 0.94
QUANTILE = 0.02  # share of the registered recompressed copies that may be denied
# Below it the two could not be laid on each other, which says nothing. It is low since of different pages of
# one layout many seem to be mirrored, and agree less then.
REGISTERED = 0.5
COPIES = 200  # images whose copies tell what recompression leaves of details
Numbers = NDArray[np.int64]


def correlation(
    image_set: ImageSet,
    coordinates: Descriptors,
    candidates: Numbers,
    pairs: tuple[Numbers, Numbers],
    side: int = descriptors.SIDE,
    cells: int = 1,
) -> NDArray[np.float64]:
    """The correlation of the edges of pairs of candidates, float64 (P,).

    Args:
        image_set: All images.
        coordinates: Of the candidates; they tell which pairs are mirrored.
        candidates: int64 (n,); numbers of the images.
        pairs: Both sides, int64 (P,) each; places in `candidates`.
        side: Larger images are averaged down to so many pixels a side.
        cells: As in `registration.edge_correlation`.
    """
    a, b = pairs
    mirrored = (coordinates.odd[a] * coordinates.odd[b]).sum(1) < 0
    # Most images are in several of the closest pairs, so each is read and smoothed once.
    compared, places = np.unique(np.concatenate([a, b]), return_inverse=True)
    if not len(compared):
        return np.zeros(0)
    smooth = _smoothed(image_set, candidates[compared], side)
    one, other = np.split(places, 2)
    edges = np.zeros(len(a))
    for start in range(0, len(a), BLOCK):
        block = slice(start, start + BLOCK)
        edges[block] = registration.edge_correlation(
            smooth[one[block]], smooth[other[block]], mirrored[block], cells
        )
    return edges


def tell(
    image_set: ImageSet, coordinates: Descriptors, candidates: Numbers, images: Numbers, radius: float
) -> NDArray[np.bool_]:
    """For which images edges tell a copy from another image: bool (n,).

    The edges of photos disagree with those of other images; those of digits, icons and scans of one kind
    agree. The nearest image farther than the radius stands for the others, since no copy lies there. A few
    edges fit those of anything: a light in the night is any other light.

    Args:
        image_set, coordinates, candidates: As in `correlation`.
        images: int64 (n,), places in `candidates`.
        radius: How far apart copies may lie.
    """
    starts = range(0, len(images), BLOCK)
    blocks = [
        _tell(image_set, coordinates, candidates, images[start : start + BLOCK], radius) for start in starts
    ]
    return np.concatenate([np.zeros(0, bool), *blocks])


def _tell(
    image_set: ImageSet, coordinates: Descriptors, candidates: Numbers, images: Numbers, radius: float
) -> NDArray[np.bool_]:
    others = neighbours.nearest(coordinates, images, beyond=radius)
    edges = correlation(image_set, coordinates, candidates, (images, others))
    smooth = _smoothed(image_set, candidates[images], descriptors.SIDE)
    return np.asarray((edges < registration.ALIKE) & (registration.spread(smooth) >= SPREAD))


def denied(
    image_set: ImageSet,
    coordinates: Descriptors,
    candidates: Numbers,
    pairs: tuple[Numbers, Numbers],
    sample: ImageSubset,
) -> NDArray[np.bool_]:
    """Which pairs look the same at 32 pixels a side, and differ in details: bool (P,).

    Args:
        image_set, coordinates, candidates, pairs: As in `correlation`.
        sample: Some images at the size that most came in, whose recompressed copies tell what is left of
            details.
    """
    side = min(DETAIL, sample.height, sample.width)  # enlarged images have no more details than before
    if side < 1.5 * descriptors.SIDE or not len(pairs[0]):
        return np.zeros(len(pairs[0]), bool)
    # A block of pairs at a time: all images of 20,000 pairs would take up to 1.4 GB at this size.
    blocks = [
        tuple(part[start : start + BLOCK] for part in pairs) for start in range(0, len(pairs[0]), BLOCK)
    ]
    edges = np.concatenate(
        [correlation(image_set, coordinates, candidates, (a, b), side, CELLS) for a, b in blocks]
    )
    return np.asarray((edges >= REGISTERED) & (edges < min(SAME, _kept_by_copies(sample, side))))


def _kept_by_copies(sample: ImageSubset, side: int) -> float:
    """The correlation of edges that all but `QUANTILE` of recompressed copies reach."""
    images = sample[np.arange(min(COPIES, len(sample)))]
    generator = np.random.default_rng(0)
    copies = Perturbations.drawn(len(images), generator).of(images, slice(None))["recompressed"]
    ours, theirs = (registration.smoothed(descriptors.reduced(some, side, side)) for some in (images, copies))
    edges = registration.edge_correlation(ours, theirs, np.zeros(len(images), bool), CELLS)
    registered = edges[edges >= REGISTERED]
    return float(np.quantile(registered, QUANTILE)) if len(registered) else 0.0


def _smoothed(image_set: ImageSet, numbers: Numbers, side: int) -> Floats:
    """The images of these numbers, at least one, float32 (N, h, w)."""
    smooth: Floats | None = None
    for start in range(0, len(numbers), BLOCK):
        images = registration.smoothed(image_set.reduced(numbers[start : start + BLOCK], side, side))
        if smooth is None:  # filled in place: parts that are joined take twice the memory
            smooth = np.empty((len(numbers), *images.shape[1:]), np.float32)
        smooth[start : start + BLOCK] = images
    assert smooth is not None  # noqa: S101 - the callers have images
    return smooth
