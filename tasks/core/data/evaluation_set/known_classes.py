"""The classes of a source in the order of a version's, by name."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tasks.core.data.readers.base import UNLABELLED, ImageIndex
from tasks.core.errors import DataError

UNKNOWN = -2  # the label of an image of a class that the version does not know
SHOWN = 10  # classes that an error names


def relabelled(index: ImageIndex, names: Sequence[str], classes: Sequence[str]) -> ImageIndex:
    """The index with the version's labels; `UNKNOWN` where it does not know the class.

    Args:
        index: The images of the source.
        names: Names of the source's classes.
        classes: Names of the version's classes.
    """
    number_of = {name: number for number, name in enumerate(classes)}
    table = np.array([*(number_of.get(name, UNKNOWN) for name in names), UNLABELLED], np.int32)
    return replace(index, label=table[index.label])  # UNLABELLED is -1: the last row


def unknown_counts(names: Sequence[str], labels: NDArray[np.int32], classes: Sequence[str]) -> dict[str, int]:
    """Number of images by class that the version does not know, most images first.

    Args:
        names: Names of the source's classes.
        labels: int32 (n,), the source's labels of the images that are asked for.
        classes: Names of the version's classes.
    """
    counts = np.bincount(labels[labels != UNLABELLED], minlength=len(names)).tolist()
    unknown = {
        name: count for name, count in zip(names, counts, strict=True) if count and name not in classes
    }
    return dict(sorted(unknown.items(), key=lambda item: -item[1]))


def no_known_class(source: str, unknown: Sequence[str], classes: Sequence[str]) -> DataError:
    """The error for a source without any image of a known class."""
    return DataError(
        f"{source} has no image of a class that the version knows",
        expected=f"labels among {_listed(classes)}",
        found=f"{_listed(unknown)}" if unknown else "no labelled image",
        done="nothing was evaluated",
        todo="name the classes as the version does (folders, or the column label), or choose another --model",
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
