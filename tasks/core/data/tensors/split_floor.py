"""A floor for small classes: one val and one test image for each class of `MIN_IMAGES` images or more.

It is for splits that the source does not have itself: val, test or both. Of the train images of a
class without a test image, the one with the smallest rank becomes test. In a class without a val image, the
one with the largest rank becomes val. The rank is the fraction that decides about test (`splits`). Classes
that have both stay as they are.

What this guarantees when a folder grows, for each class that had `MIN_IMAGES` images before: no image moves
from train to val or test, nor between val and test. A new image may take the place of one that the floor had
chosen, which then moves to train. The reason: only the smallest and the largest of the train images are
chosen, new images only add to these, and what is neither in a set is neither in a larger one.

An image in two classes keeps its place here, although it is left out of the tensors: otherwise an image of
train would move up to it.

With groups, whole groups take the place of images, as `unit` says: a class of `MIN_IMAGES` groups gets a
group in val and one in test. A group may have images of several classes. So that none is chosen for both,
test takes groups of a rank below `HALF`, and val those from it on. A class that has no train group there is
left without.

When a class reaches `MIN_IMAGES`, one of its images may move from train to val, and one to test. No rule that
depends on the contents alone can avoid it. If no image may ever leave train, and none may move between val
and test, then the split of an image that is alone in its class is the only one, beside train, that it can
ever have. So of any number of images that are all train, or all test, when alone, none can become val.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.core.data.readers.base import ImageIndex
from tasks.core.data.tensors.cache import SPLITS

MIN_IMAGES = 5  # different images of a class
HALF = 0.6  # the middle of the ranks of train, 0.2..1
TRAIN, VAL, TEST = map(SPLITS.index, ("train", "val", "test"))


def raise_to_floor(
    split: NDArray[np.int8],
    index: ImageIndex,
    floored: tuple[int, ...],
    rank: Callable[[str], float],
    unit: pa.ChunkedArray | None = None,
) -> NDArray[np.int8]:
    """The splits with a val and a test image for each class that is large enough.

    Args:
        split: int8 (N,); each image's split, as an index into `SPLITS`.
        index: The images.
        floored: The splits to fill: VAL, TEST or both.
        rank: Of an image id or a unit; fixed for it.
        unit: Strings (N,), what is kept together; None for the image ids, where the source has no groups.

    Returns:
        int8 (N,). Exact copies are in the same split.
    """
    chosen: dict[str, int] = {}
    kept_together = index.image_id if unit is None else unit
    for numbers in _lacking(split, index.label, floored):
        of_class = kept_together.take(pa.array(numbers)).to_pylist()
        if len(set(of_class)) >= MIN_IMAGES:
            chosen |= _chosen(of_class, split[numbers], floored, rank, unit is not None)
    if not chosen:
        return split
    positions = pc.fill_null(pc.index_in(kept_together, pa.array(list(chosen))), -1).to_numpy()
    stays = (positions < 0) | ((unit is not None) & (split != TRAIN))
    return np.where(stays, split, np.array(list(chosen.values()), np.int8)[positions])


def _lacking(
    split: NDArray[np.int8], label: NDArray[np.int32], floored: tuple[int, ...]
) -> Iterator[NDArray[np.int64]]:
    """The numbers of the images of each class that has no image in one of the splits."""
    numbers = np.flatnonzero(label >= 0)
    cells = label[numbers].astype(np.int64) * len(SPLITS) + split[numbers]
    classes = int(label.max(initial=-1)) + 1
    counts = np.bincount(cells, minlength=classes * len(SPLITS)).reshape(classes, len(SPLITS))
    lacks = (counts[:, floored] == 0).any(1)
    numbers = numbers[lacks[label[numbers]]]
    numbers = numbers[np.argsort(label[numbers], kind="stable")]
    starts = np.flatnonzero(np.diff(label[numbers])) + 1
    return (group for group in np.split(numbers, starts) if len(group))


def _chosen(
    units: list[str],
    split: NDArray[np.int8],
    floored: tuple[int, ...],
    rank: Callable[[str], float],
    grouped: bool,
) -> dict[str, int]:
    """The images or groups of one class that leave train, with their new split."""
    train = [unit for unit, number in zip(units, split.tolist(), strict=True) if number == TRAIN]
    train.sort(key=lambda unit: (rank(unit), unit))
    for_test = [unit for unit in train if rank(unit) < HALF] if grouped else train
    for_val = [unit for unit in train if rank(unit) >= HALF] if grouped else train
    present = set(split.tolist())
    chosen = {}
    if for_val and VAL in floored and VAL not in present:
        chosen[for_val[-1]] = VAL
    if for_test and TEST in floored and TEST not in present:
        chosen[for_test[0]] = TEST
    return chosen
