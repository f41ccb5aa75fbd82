"""Folds of the train images, so that each image can be predicted by a model that was not trained on it.

A fold is a tensor cache without tables. Its test images are one part of the train images, its train images
all others.
"""

import heapq
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import open_split
from tasks.core.data.tensors.groups import read_groups
from tasks.core.data.tensors.npy_writer import write_rows
from tasks.core.stage.handles import TensorCache
from tasks.core.stage.stages import FOLD
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.data")


def members(
    count: int, number: int, folds: int, groups: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Which of the train images are the fold's test images, bool (count,).

    A fold is a block of consecutive rows. Rows are in random order with respect to class, and exact copies
    are adjacent, so that a model is hardly ever trained on a copy of an image that it predicts. With groups,
    a fold is a set of whole groups, see `fold_of_groups`.

    Args:
        count: Number of train images.
        number: Which fold, 0..folds-1.
        folds: Number of folds.
        groups: The group of each image, int64 (count,), as `groups.read_groups` returns it; None for none.
    """
    if groups is None:
        return np.arange(count) * folds // count == number
    return fold_of_groups(groups, folds)[groups] == number


def train_members(tensors: TensorCache, number: int, folds: int) -> NDArray[np.bool_]:
    """`members` of the train images, bool (train,), with their groups if there are any.

    Train images of one single group cannot be held out as a whole, so that they are parted image by image.
    """
    groups = read_groups(tensors, "train")
    if groups is not None and len(groups) and not groups.any():
        log.warning("the train images are of one group: what is held out of them is of that group, too")
        groups = None
    return members(tensors.train, number, folds, groups)


def fold_of_groups(groups: NDArray[np.int64], folds: int) -> NDArray[np.int64]:
    """The fold of each group, int64 (groups,): the largest group first, each into the smallest fold so far.

    The folds are numbered by their size, the smallest first. Where there are fewer groups than folds, the
    last folds are empty.

    Args:
        groups: The group of each image, int64 (N,), 0..groups-1.
        folds: Number of folds.
    """
    sizes = np.bincount(groups)
    fold = np.empty(len(sizes), np.int64)
    filled = [(0, number) for number in range(folds)]
    for group in np.argsort(-sizes, kind="stable").tolist():
        images, number = heapq.heappop(filled)
        fold[group] = number
        heapq.heappush(filled, (images + int(sizes[group]), number))
    order = sorted(filled, key=lambda entry: (not entry[0], entry))
    rank = {number: place for place, (_, number) in enumerate(order)}
    return np.array([rank[number] for number in fold.tolist()], np.int64)


def fold(tensors: TensorCache, number: int, folds: int, workspace: Workspace) -> TensorCache:
    """Write one fold, or reuse it.

    Args:
        tensors: The images.
        number: Which fold, 0..folds-1.
        folds: Number of folds, 2 or more.
        workspace: Where the fold is stored.
    """
    ingredients = FOLD.ingredients({"tensors": tensors.digest}, {"number": number, "folds": folds})
    is_test = train_members(tensors, number, folds)
    return FOLD.output(
        ingredients,
        workspace,
        lambda staging: _write(staging, tensors, is_test),
        dataset=tensors.dataset,
        classes=tensors.classes,
        shape=tensors.shape,
        fit=tensors.fit,
        grey_bits=tensors.grey_bits,
        train=int((~is_test).sum()),
        val=tensors.val,
        test=int(is_test.sum()),
        quarantined=0,
    )


def _write(staging: Path, tensors: TensorCache, is_test: NDArray[np.bool_]) -> dict[str, Any]:
    train, val = open_split(tensors, "train"), open_split(tensors, "val")
    for split, rows in (("train", np.flatnonzero(~is_test)), ("test", np.flatnonzero(is_test))):
        write_rows(staging / f"{split}.images.npy", train.images, rows)
        np.save(staging / f"{split}.labels.npy", train.labels[rows])
    write_rows(staging / "val.images.npy", val.images, np.arange(len(val.labels)))
    np.save(staging / "val.labels.npy", val.labels)
    return {}
