"""Finds pairs of images that have the same content or look the same."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from tasks.core import process_memory
from tasks.core.data.audit import descriptors
from tasks.core.data.audit.descriptors import Descriptors, Floats
from tasks.core.data.audit.duplicate_table import NAME, SCHEMA, leaks_of
from tasks.core.data.audit.image_set import ImageSet, ImageSubset
from tasks.core.data.audit.near_duplicates import alignment, edges, mutual, neighbours, registration
from tasks.core.data.audit.near_duplicates.distance import SAMPLE, LearnedDistance
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import TensorCache

# Limits of one minus the pixels' correlation where the descriptors are equal: a multiple of what
# recompression costs, and an upper bound. At the radius half of it is allowed. In CIFAR-10 both give 0.1;
# with a larger limit different ships under a grey sky begin to match. Handwriting needs the multiple:
# different digits reach a correlation of 0.996, recompressed ones 0.998.
TOLERANCE_FACTOR, MAX_TOLERANCE = 3.7, 0.1
MIN_IMAGES = 50  # with fewer images no distance is learned
# Copies of other kinds than those that the distance is learned from lie within this many radii: 84 to 100 %.
REACH = 1.5
MOST_CLOSE = 100_000  # pairs, the closest; those of them that are among each other's nearest are compared
MOST_COMPARED = 20_000  # pairs, the closest of those; each takes about 0.1 ms
SOME = 300  # images of which half at least must have edges that tell, or no edges are compared
BLOCK = 2048  # pairs whose pixels are in memory at a time
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """Pairs of images, numbered as in `ImageSet`.

    Args:
        a, b: int64 (P,), a < b.
        distance: float64 (P,); 0 for images of one content, else between the descriptors, 1 at the radius of
            the learned kinds of copies, up to `REACH`.
        exact: bool (P,); whether both have the same content.
        contents: int64 (N,); a number for each image, the same for images of one content.
    """

    a: Numbers
    b: Numbers
    distance: NDArray[np.float64]
    exact: NDArray[np.bool_]
    contents: Numbers

    def matched(self, ours: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of `ours` are duplicates of any of `others`, exact or near.

        A near duplicate counts for every image of the same content.

        Args:
            ours, others: bool (N,); which images.

        Returns:
            bool (N,).
        """
        in_others = np.zeros(len(self.contents), bool)
        in_others[self.contents[others]] = True
        a, b = self.contents[self.a], self.contents[self.b]
        matched = in_others.copy()
        matched[a[in_others[b]]] = True
        matched[b[in_others[a]]] = True
        return ours & matched[self.contents]


def find(tensors: TensorCache, progress: Progress = ignore_progress) -> Duplicates:
    """Exact and near duplicates within and across all splits.

    Every copy is paired with the first image of the same content. One image of each content and split takes
    part in the search for near duplicates.

    Args:
        tensors: The images. If they are smaller than `descriptors.SMALLEST` pixels, only exact duplicates
            are found.
        progress: Called with images done.
    """
    image_set = ImageSet.of(tensors)
    contents = image_set.contents(read_rows(tensors, ["split", "row", "image_id"]))
    a, b = _exact(contents)
    candidates = _one_of_each(contents, image_set)
    sample = ImageSubset(image_set, candidates[:SAMPLE], *_original_size(tensors))
    with threadpool_limits(1):  # BLAS' threads would spin between small products
        near_a, near_b, distance = _near(image_set, candidates, sample, progress)
    differs = contents[near_a] != contents[near_b]
    return Duplicates(
        np.concatenate([a, near_a[differs]]),
        np.concatenate([b, near_b[differs]]),
        np.concatenate([np.zeros(len(a)), distance[differs]]),
        np.arange(len(a) + differs.sum()) < len(a),
        contents,
    )


def write(directory: Path, duplicates: Duplicates, starts: NDArray[np.int64]) -> pa.Table:
    """Write the pairs, the closest first, and each split's mask of leaks.

    Args:
        directory: Where the files are written.
        duplicates: The pairs.
        starts: int64 (4,); `ImageSet.starts`.

    Returns:
        The table of the pairs; columns as in `duplicate_table.SCHEMA`.
    """
    pairs = table(duplicates, starts).sort_by([("distance", "ascending")])
    pq.write_table(pairs, directory / NAME)
    for split, leaks in leaking(duplicates, starts).items():
        np.save(directory / leaks_of(split), leaks)
    return pairs


def leaking(duplicates: Duplicates, starts: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """By split, which images have a duplicate across the test boundary.

    Test images leak if train or val has a duplicate; train and val images leak if test has one.

    Returns:
        bool (images of the split,) each.
    """
    is_test = np.arange(starts[-1]) >= starts[-2]
    leaks = duplicates.matched(is_test, ~is_test) | duplicates.matched(~is_test, is_test)
    return dict(zip(SPLITS, np.split(leaks, starts[1:-1]), strict=True))


def table(duplicates: Duplicates, starts: NDArray[np.int64]) -> pa.Table:
    """The pairs as a table with split and row of both images; columns as in `duplicate_table.SCHEMA`.

    Args:
        duplicates: The pairs.
        starts: int64 (4,); `ImageSet.starts`.
    """
    split_a, split_b = (
        np.searchsorted(starts, side, side="right") - 1 for side in (duplicates.a, duplicates.b)
    )
    names = np.array(SPLITS, dtype=object)
    columns = [
        names[split_a],
        duplicates.a - starts[split_a],
        names[split_b],
        duplicates.b - starts[split_b],
        np.where(duplicates.exact, "exact", "near"),
        duplicates.distance,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _exact(contents: Numbers) -> tuple[Numbers, Numbers]:
    _, first, group = np.unique(contents, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[group] != np.arange(len(contents)))
    return first[group[copies]], copies


def _one_of_each(contents: Numbers, image_set: ImageSet) -> Numbers:
    """The first image of each content in each split."""
    splits = np.repeat(np.arange(len(SPLITS)), image_set.sizes)
    _, first = np.unique(contents * len(SPLITS) + splits, return_index=True)
    return np.sort(first)


def _original_size(tensors: TensorCache) -> tuple[int, int]:
    """The tensors' height and width, or less if most images were enlarged to them.

    Copies of an enlarged image are made at its original size, where recompression changes it more.
    """
    rows = read_rows(tensors, ["height", "width"])
    height, width = tensors.shape[:2]
    scales = np.minimum(rows["height"].to_numpy() / height, rows["width"].to_numpy() / width)
    scale = min(1.0, float(np.median(scales)))
    down, across = (max(min(side, descriptors.SMALLEST), round(scale * side)) for side in (height, width))
    return down, across


def _near(
    image_set: ImageSet, candidates: Numbers, sample: ImageSubset, progress: Progress
) -> tuple[Numbers, Numbers, NDArray[np.float64]]:
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    if min(image_set.splits[0].images.shape[1:3]) < descriptors.SMALLEST or len(candidates) < MIN_IMAGES:
        return nothing
    learned = LearnedDistance.learn(sample)
    coordinates = project_images(image_set, candidates, learned)
    close = neighbours.within(coordinates, REACH * learned.radius, most=MOST_CLOSE, progress=progress)
    a, b, distance = close.a, close.b, close.distance / learned.radius
    matches = np.zeros(len(a), bool)
    pixels = np.flatnonzero(distance <= 1)[:MOST_COMPARED]
    correlation = _pixel_correlation(image_set, candidates[a[pixels]], candidates[b[pixels]])
    matches[pixels] = 1 - correlation <= allowance(learned, distance[pixels])
    shown = image_set, coordinates, candidates
    reach = REACH * learned.radius
    if edges.tell(*shown, np.arange(min(SOME, len(candidates))), reach).mean() >= 0.5:
        is_near = mutual.nearest(a, b)
        process_memory.give_back()  # 30 MB of the search, before the edges take as much
        for choose in (
            lambda: is_near,
            lambda: ~is_near & mutual.connected(a, b, matches, len(candidates)),
        ):
            compared = np.flatnonzero(choose() & ~matches)[:MOST_COMPARED]
            same = edges.correlation(*shown, (a[compared], b[compared])) >= registration.SAME
            matches[_told_by_edges(*shown, (a, b), compared[same], reach)] = True
    found = np.flatnonzero(matches)
    seen = found[:MOST_COMPARED]
    matches[seen[edges.denied(*shown, (a[seen], b[seen]), sample)]] = False
    found = np.flatnonzero(matches)
    return candidates[a[found]], candidates[b[found]], distance[found].astype(np.float64)


def _told_by_edges(
    image_set: ImageSet,
    coordinates: Descriptors,
    candidates: Numbers,
    pairs: tuple[Numbers, Numbers],
    same: Numbers,
    radius: float,
) -> Numbers:
    """Those of the pairs with the same edges for whose images edges tell anything."""
    sides = [side[same] for side in pairs]
    images, places = np.unique(np.concatenate(sides), return_inverse=True)
    tells = edges.tell(image_set, coordinates, candidates, images, radius)
    return same[tells[places].reshape(2, -1).all(0)]


def project_images(image_set: ImageSet, candidates: Numbers, learned: LearnedDistance) -> Descriptors:
    """Coordinates of the candidates in the learned distance; one block of images is in memory at a time.

    Args:
        image_set: All images.
        candidates: int64 (n,); numbers of the images.
        learned: The distance.
    """
    even, odd = (
        np.empty((len(candidates), part.shape[1]), np.float32) for part in (learned.even, learned.odd)
    )
    for start in range(0, len(candidates), descriptors.BLOCK):
        block = slice(start, start + descriptors.BLOCK)
        features = learned.project(descriptors.describe(image_set.reduced(candidates[block])))
        even[block], odd[block] = features.even, features.odd
    return Descriptors(even, odd)


def allowance(learned: LearnedDistance, distance: Floats) -> NDArray[np.float64]:
    """The largest allowed value of one minus the correlation of a pair's pixels, float64 (P,).

    Args:
        learned: The distance.
        distance: float32 (P,), between the descriptors; 1 at the radius.
    """
    return min(TOLERANCE_FACTOR * learned.pixel_tolerance, MAX_TOLERANCE) * (
        1 - distance.astype(np.float64) / 2
    )


def _pixel_correlation(image_set: ImageSet, a: Numbers, b: Numbers) -> NDArray[np.float64]:
    """The correlation of the pixels of pairs of images, by their numbers: float64 (P,).

    Close images are in several pairs. In the order of their first image these are near each other, so that
    each image is read, and transformed, two to three times instead of five.
    """
    correlations, order = np.zeros(len(a)), np.lexsort((b, a))
    for start in range(0, len(a), BLOCK):
        block = order[start : start + BLOCK]
        images, places = np.unique(np.concatenate([a[block], b[block]]), return_inverse=True)
        correlations[block] = alignment.pixel_correlation(image_set.reduced(images), *np.split(places, 2))
    return correlations
