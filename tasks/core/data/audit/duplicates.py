"""Pairs of images that are the same, or look the same."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.core.data.audit import alignment, descriptors, neighbours
from tasks.core.data.audit.descriptors import Features, Floats
from tasks.core.data.audit.distance import SAMPLE, LearnedDistance
from tasks.core.data.audit.duplicate_table import NAME, SCHEMA, leaks_of
from tasks.core.data.audit.image_set import ImageSet, ImageSubset
from tasks.core.data.tensors.cache import SPLITS, read_rows
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import TensorCache

# What the pixels' correlation may lack to 1 if descriptors are equal, in multiples of what recompression
# costs, and at most; half of it at the radius. In CIFAR-10 (0.1 by either) ships under a grey sky begin to
# come in below. Handwriting needs the multiple: different digits reach 0.996, recompressed ones 0.998.
BLEMISHES, LARGEST_LACK = 3.7, 0.1
FEWEST = 50  # images from which a distance can be learned
BLOCK = 1024  # pairs whose pixels are in memory at a time
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """Pairs of images, numbered as in `Gallery`.

    Args:
        a, b: int64 (P,), a < b.
        distance: float64 (P,); 0 for images of one content, else between the descriptors, 1 at the limit.
        exact: bool (P,); whether both have the same content.
        contents: int64 (N,); a number for each image, the same for images of one content.
    """

    a: Numbers
    b: Numbers
    distance: NDArray[np.float64]
    exact: NDArray[np.bool_]
    contents: Numbers

    def matched(self, ours: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which of `ours` are duplicates of any of `others`, exact or near, through each image's content.

        Args:
            ours, others: bool (N,); which images.
        """
        has = np.zeros(len(self.contents), bool)
        has[self.contents[others]] = True
        a, b = self.contents[self.a], self.contents[self.b]
        matched = has.copy()
        matched[a[has[b]]] = True
        matched[b[has[a]]] = True
        return ours & matched[self.contents]


def find(tensors: TensorCache, progress: Progress = ignore_progress) -> Duplicates:
    """Exact and near duplicates within and across all splits.

    Every copy is paired with the first image of the same content. Of one content, one image a split takes
    part in the search for near duplicates.

    Args:
        tensors: The images; if they are smaller than `descriptors.SMALLEST` pixels, only exact duplicates
            are looked for.
        progress: Told images done.
    """
    gallery = ImageSet.of(tensors)
    contents = _contents(tensors, gallery)
    a, b = _exact(contents)
    chosen = _one_of_each(contents, gallery)
    sample = ImageSubset(gallery, chosen[:SAMPLE], *_size_as_it_came(tensors))
    near_a, near_b, distance = _near(gallery, chosen, sample, progress)
    different = contents[near_a] != contents[near_b]
    return Duplicates(
        np.concatenate([a, near_a[different]]),
        np.concatenate([b, near_b[different]]),
        np.concatenate([np.zeros(len(a)), distance[different]]),
        np.arange(len(a) + different.sum()) < len(a),
        contents,
    )


def write(directory: Path, found: Duplicates, starts: NDArray[np.int64]) -> pa.Table:
    """Write the pairs, the most alike first, and which images of each split stand on both sides of the test.

    Args:
        starts: The number of each split's first image, and that of all images.
    """
    pairs = table(found, starts).sort_by([("distance", "ascending")])
    pq.write_table(pairs, directory / NAME)
    for split, leaks in leaking(found, starts).items():
        np.save(directory / leaks_of(split), leaks)
    return pairs


def leaking(found: Duplicates, starts: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """By split, which images have a duplicate on the other side: test images in train or val, others in test.

    Returns:
        bool (images of the split,) each
    """
    is_test = np.arange(starts[-1]) >= starts[-2]
    leaks = found.matched(is_test, ~is_test) | found.matched(~is_test, is_test)
    return dict(zip(SPLITS, np.split(leaks, starts[1:-1]), strict=True))


def table(found: Duplicates, starts: NDArray[np.int64]) -> pa.Table:
    """Pairs of images that are numbered through train, val and test, as a table.

    Args:
        starts: The number of each split's first image, and that of all images.
    """
    split_a, split_b = (np.searchsorted(starts, side, side="right") - 1 for side in (found.a, found.b))
    names = np.array(SPLITS, dtype=object)
    columns = [
        names[split_a],
        found.a - starts[split_a],
        names[split_b],
        found.b - starts[split_b],
        np.where(found.exact, "exact", "near"),
        found.distance,
    ]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)


def _contents(tensors: TensorCache, gallery: ImageSet) -> Numbers:
    """A number for each image that is the same for images of one content."""
    rows = read_rows(tensors, ["split", "row", "image_id"])
    contents = np.empty(rows.num_rows, np.int64)
    contents[gallery.numbers(rows)] = rows["image_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    return contents


def _exact(contents: Numbers) -> tuple[Numbers, Numbers]:
    _, first, group = np.unique(contents, return_index=True, return_inverse=True)
    copies = np.flatnonzero(first[group] != np.arange(len(contents)))
    return first[group[copies]], copies


def _one_of_each(contents: Numbers, gallery: ImageSet) -> Numbers:
    """The first image of each content in each split."""
    splits = np.repeat(np.arange(len(SPLITS)), gallery.sizes)
    _, first = np.unique(contents * len(SPLITS) + splits, return_index=True)
    return np.sort(first)


def _size_as_it_came(tensors: TensorCache) -> tuple[int, int]:
    """The tensors' height and width, or less if most images had to be enlarged to them.

    Copies of an enlarged image are made of it as it came: shown small, recompression does more to it.
    """
    rows = read_rows(tensors, ["height", "width"])
    height, width = tensors.shape[:2]
    scales = np.minimum(rows["height"].to_numpy() / height, rows["width"].to_numpy() / width)
    scale = min(1.0, float(np.median(scales)))
    down, across = (max(min(side, descriptors.SMALLEST), round(scale * side)) for side in (height, width))
    return down, across


def _near(
    gallery: ImageSet, chosen: Numbers, sample: ImageSubset, progress: Progress
) -> tuple[Numbers, Numbers, NDArray[np.float64]]:
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    if min(gallery.splits[0].images.shape[1:3]) < descriptors.SMALLEST or len(chosen) < FEWEST:
        return nothing
    likeness = LearnedDistance.learn(sample)
    close = neighbours.within(places(gallery, chosen, likeness), likeness.radius, progress=progress)
    a, b, distance = chosen[close.a], chosen[close.b], close.distance / likeness.radius
    same = 1 - _correlation(gallery, a, b) <= allowance(likeness, distance)
    return a[same], b[same], distance[same].astype(np.float64)


def places(gallery: ImageSet, chosen: Numbers, likeness: LearnedDistance) -> Features:
    """Where the chosen images are; of one block at a time there is more than that in memory."""
    even, odd = (np.empty((len(chosen), part.shape[1]), np.float32) for part in (likeness.even, likeness.odd))
    for start in range(0, len(chosen), descriptors.BLOCK):
        block = slice(start, start + descriptors.BLOCK)
        features = likeness.project(descriptors.describe(gallery.reduced(chosen[block])))
        even[block], odd[block] = features.even, features.odd
    return Features(even, odd)


def allowance(likeness: LearnedDistance, distance: Floats) -> NDArray[np.float64]:
    """What the correlation of a pair's pixels may lack to 1.

    Args:
        distance: Between the descriptors; 1 at the radius.
    """
    return min(BLEMISHES * likeness.pixel_tolerance, LARGEST_LACK) * (1 - distance.astype(np.float64) / 2)


def _correlation(gallery: ImageSet, a: Numbers, b: Numbers) -> NDArray[np.float64]:
    found = np.zeros(len(a))
    for start in range(0, len(a), BLOCK):
        block = slice(start, start + BLOCK)
        found[block] = alignment.correlation(gallery.reduced(a[block]), gallery.reduced(b[block]))
    return found
