"""Folds: the train images in parts, so that each image can be predicted by a model that has not seen it.

A fold is a tensor cache without tables: its test images are one part of the train images, its train images
all others.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import open_split
from tasks.core.data.tensors.npy_writer import RowFile
from tasks.core.stage.handles import TensorCache
from tasks.core.stage.stages import FOLD
from tasks.core.workspace import Workspace

BLOCK = 1024  # images copied at a time


def members(count: int, number: int, folds: int) -> NDArray[np.bool_]:
    """Which of the train images are the fold's test images, bool (count,).

    A block of rows: their order is random with respect to class, and exact copies stand side by side, so
    that a model hardly ever has seen a copy of what it predicts.
    """
    return np.arange(count) * folds // count == number


def fold(tensors: TensorCache, number: int, folds: int, workspace: Workspace) -> TensorCache:
    """Make one fold.

    Args:
        tensors: The images.
        number: Which fold, 0..folds-1.
        folds: Number of folds, 2 or more.
    """
    made_of = FOLD.ingredients({"tensors": tensors.digest}, {"number": number, "folds": folds})
    held = members(tensors.train, number, folds)
    return FOLD.output(
        made_of,
        workspace,
        lambda staging: _write(staging, tensors, held),
        dataset=tensors.dataset,
        classes=tensors.classes,
        shape=tensors.shape,
        train=int((~held).sum()),
        val=tensors.val,
        test=int(held.sum()),
        quarantined=0,
    )


def _write(staging: Path, tensors: TensorCache, held: NDArray[np.bool_]) -> dict[str, Any]:
    train, val = open_split(tensors, "train"), open_split(tensors, "val")
    for split, rows in (("train", np.flatnonzero(~held)), ("test", np.flatnonzero(held))):
        _copy(staging / f"{split}.images.npy", train.images, rows)
        np.save(staging / f"{split}.labels.npy", train.labels[rows])
    _copy(staging / "val.images.npy", val.images, np.arange(len(val.labels)))
    np.save(staging / "val.labels.npy", val.labels)
    return {}


def _copy(path: Path, images: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
    """In blocks, so that the memory stays small."""
    made = RowFile(path, len(rows), images.shape[1:])
    for start in range(0, len(rows), BLOCK):
        made.write(start, np.ascontiguousarray(images[rows[start : start + BLOCK]]))
    made.close()
