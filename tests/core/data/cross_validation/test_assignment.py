"""Folds over all images: stratified, groups whole, and clear about what cannot be done."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.core.data.cross_validation import assignment
from tasks.core.data.cross_validation.images import AllImages
from tasks.core.errors import UsageError

CLASSES = ("cat", "dog", "eel")


def images(
    labels: np.ndarray, groups: np.ndarray | None = None, order: np.ndarray | None = None
) -> AllImages:
    """Images with ids that follow from their number."""
    numbers = np.arange(len(labels)) if order is None else order
    ids = [f"{number * 7919 % 100_003:06}" for number in numbers]
    codes = np.arange(len(labels)) if groups is None else groups
    return AllImages(pa.table({"image_id": ids}), labels.astype(np.int32), codes.astype(np.int64))


def test_folds_are_stratified() -> None:
    labels = np.repeat([0, 1, 2], [50, 20, 10])
    folds = assignment.folds_of(images(labels), 5)
    counts = [[int((folds[labels == label] == fold).sum()) for fold in range(5)] for label in range(3)]
    assert counts == [[10] * 5, [4] * 5, [2] * 5]


def test_folds_do_not_depend_on_the_order_of_the_images() -> None:
    labels = np.arange(90) % 3
    order = np.random.default_rng(0).permutation(90)
    folds = assignment.folds_of(images(labels), 5)
    np.testing.assert_array_equal(assignment.folds_of(images(labels[order], order=order), 5), folds[order])


def test_a_group_is_in_one_fold_and_classes_are_spread() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 40, 300)
    labels = groups % 3
    folds = assignment.folds_of(images(labels, groups), 4)
    assert all(len(set(folds[groups == group])) == 1 for group in range(40))
    assert all(len(set(folds[labels == label])) == 4 for label in range(3))
    held = assignment.held_back(labels, groups, 0.1)
    assert not set(groups[held]) & set(groups[~held])
    assert 0.03 < held.mean() < 0.25


@pytest.mark.parametrize(
    ("labels", "groups", "folds", "error"),
    [
        pytest.param(np.repeat([0, 1], [30, 4]), None, 5, "dog has too few images for 5 folds", id="class"),
        pytest.param(np.arange(30) % 2, np.arange(30) // 10, 5, "too few groups for 5 folds", id="groups"),
    ],
)
def test_more_folds_than_images_allow_are_refused(
    labels: np.ndarray, groups: np.ndarray | None, folds: int, error: str
) -> None:
    with pytest.raises(UsageError, match=error) as caught:
        assignment.check(images(labels, groups), folds, CLASSES)
    most = assignment.most_folds(images(labels, groups))
    assert f"--cross-validate {most}" in str(caught.value)
    assignment.check(images(labels, groups), most, CLASSES)
    assert assignment.default_folds(images(labels, groups)) == most


def test_a_class_with_one_image_has_no_default_folds() -> None:
    assert assignment.default_folds(images(np.repeat([0, 1], [30, 1]))) is None


def test_notes_name_a_class_in_one_group_and_one_that_misses_folds() -> None:
    """Three patients: all images of eel are one patient's; those of dog are two patients'."""
    labels = np.array([0] * 30 + [1] * 20 + [2] * 10)
    groups = np.concatenate([np.arange(30), np.repeat([30, 31], 10), np.full(10, 32)])
    data = images(labels, groups)
    folds = assignment.folds_of(data, 5)
    notes = assignment.notes(data, folds, CLASSES)
    assert notes[0] == "dog has 2 groups: 2 of 5 folds test it"
    assert notes[1].startswith("all images of eel are in one group")
    assert len(notes) == 2
