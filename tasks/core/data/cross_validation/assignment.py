"""Which fold each image is tested in: stratified by class, a group in one fold.

scikit-learn's `StratifiedKFold` and `StratifiedGroupKFold` do the work. The images are put into the order of
their ids first, so that the folds do not depend on how train, val and test were drawn.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.data.cross_validation.images import AllImages
from tasks.core.errors import UsageError

SEED = 0  # of the order in which classes are dealt out
DEFAULT_FOLDS = 5
FEW_TEST_IMAGES = 200  # below this, a probe is cross-validated without being asked
Numbers = NDArray[np.int64]


def folds_of(images: AllImages, folds: int) -> NDArray[np.int8]:
    """The fold in which each image is tested, int8 (N,), 0..folds-1.

    Args:
        images: All images.
        folds: Number of folds, at least 2; `check` says how many are possible.
    """
    order = np.argsort(np.array(images.table["image_id"].to_pylist()), kind="stable")
    assigned = np.empty(len(images), np.int8)
    assigned[order] = stratified(images.labels[order], images.groups[order], folds)
    return assigned


def stratified(labels: NDArray[np.integer], groups: Numbers, folds: int) -> NDArray[np.int8]:
    """The fold of each image, int8 (N,), 0..folds-1.

    Args:
        labels: Integers (N,).
        groups: int64 (N,); images of one group get one fold.
        folds: Number of folds; at least one class needs as many images.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    alone = len(np.unique(groups)) == len(groups)
    splitter = (StratifiedKFold if alone else StratifiedGroupKFold)(folds, shuffle=True, random_state=SEED)
    assigned = np.empty(len(labels), np.int8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class with fewer images than folds
        for number, (_, test) in enumerate(splitter.split(np.zeros(len(labels)), labels, groups)):
            assigned[test] = number
    return assigned


def held_back(labels: NDArray[np.integer], groups: Numbers, share: float) -> NDArray[np.bool_]:
    """A stratified part of a fold's training images, for its early stopping and temperature; bool (N,).

    Args:
        labels: Integers (N,), of the training images.
        groups: int64 (N,); no group is divided.
        share: Share of the images, about; 0..0.5.
    """
    parts = int(np.clip(round(1 / max(share, 1e-6)), 2, 20))
    parts = min(parts, int(np.bincount(labels).max()), len(np.unique(groups)))
    return stratified(labels, groups, parts) == 0


def most_folds(images: AllImages) -> int:
    """How many folds the images allow: each fold needs an image of each class, and a group."""
    smallest = int(np.unique(images.labels, return_counts=True)[1].min())
    return min(smallest, images.group_count)


def check(images: AllImages, folds: int, classes: tuple[str, ...]) -> None:
    """Refuse more folds than there are images of a class, or groups.

    Raises:
        UsageError: There are too few.
    """
    present, counts = np.unique(images.labels, return_counts=True)
    smallest = int(counts.argmin())
    if counts[smallest] < folds:
        raise UsageError(
            f"the class {classes[present[smallest]]} has too few images for {folds} folds",
            expected=f"at least {folds} images of each class: one is tested in each fold",
            found=f"{counts[smallest]}",
            done="nothing was cross-validated",
            todo=_advice(int(counts[smallest]), "add images of it"),
        )
    if images.group_count < folds:
        raise UsageError(
            f"there are too few groups for {folds} folds",
            expected=f"at least {folds} groups of images: a group is in one fold",
            found=f"{shares.counted(images.group_count, 'group')}",
            done="nothing was cross-validated",
            todo=_advice(images.group_count, "add images of other groups"),
        )


def _advice(most: int, otherwise: str) -> str:
    return f"use --cross-validate {most}, or {otherwise}" if most >= 2 else f"{otherwise}, or leave it out"


def default_folds(images: AllImages) -> int | None:
    """5, or as many folds as the images allow; None if they allow none."""
    folds = min(DEFAULT_FOLDS, most_folds(images))
    return folds if folds >= 2 else None


def notes(images: AllImages, assigned: NDArray[np.int8], classes: tuple[str, ...]) -> tuple[str, ...]:
    """What limits the score, a sentence each: classes that some fold does not have, chains of duplicates."""
    sentences = [_class_note(images, assigned, label, classes[label]) for label in np.unique(images.labels)]
    if images.chained:
        sentences.append(
            "so many images are near duplicates of each other that only exact copies were kept in one fold"
        )
    return tuple(filter(None, sentences))


def _class_note(images: AllImages, assigned: NDArray[np.int8], label: int, name: str) -> str:
    own = images.labels == label
    groups, tested = len(np.unique(images.groups[own])), len(np.unique(assigned[own]))
    if groups == 1 and own.sum() > 1:
        return f"all images of {name} are in one group: the model that is tested on them has seen none of it"
    folds = int(assigned.max()) + 1
    if tested < folds:
        return f"{name} has {shares.counted(groups, 'group')}: {tested} of {folds} folds test it"
    return ""
