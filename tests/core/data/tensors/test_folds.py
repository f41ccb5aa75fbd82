"""Each image is in one fold, and so is each group."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.data.tensors import folds
from tasks.core.data.tensors.groups import read_groups
from tasks.core.workspace import Workspace
from tests.core.data.grouping.test_groups import patient_folder, tensors_of
from tests.support.fake_outputs import FakeOutputs
from tests.support.sample_files import encoded, noise, put


@pytest.mark.parametrize(("count", "parts"), [(80, 5), (83, 5), (7, 7), (10, 3)])
def test_members_each_image_is_in_one_fold_of_equal_size(count: int, parts: int) -> None:
    is_test = np.array([folds.members(count, number, parts) for number in range(parts)])
    assert (is_test.sum(axis=0) == 1).all()
    assert np.ptp(is_test.sum(axis=1)) <= 1


def test_fold_contains_the_images_of_its_rows(workspace) -> None:
    tensors = FakeOutputs(workspace).tensors()
    fold = folds.fold(tensors, 1, 3, workspace)
    is_test = folds.members(tensors.train, 1, 3)
    for split, rows in (("test", is_test), ("train", ~is_test)):
        for array in ("images", "labels"):
            train_array = np.load(tensors.directory / f"train.{array}.npy")
            np.testing.assert_array_equal(np.load(fold.directory / f"{split}.{array}.npy"), train_array[rows])
    np.testing.assert_array_equal(
        np.load(fold.directory / "val.images.npy"), np.load(tensors.directory / "val.images.npy")
    )
    assert (fold.train, fold.val, fold.test) == (int((~is_test).sum()), tensors.val, int(is_test.sum()))
    assert folds.fold(tensors, 1, 3, workspace) == fold
    assert folds.fold(tensors, 2, 3, workspace).digest != fold.digest


@pytest.mark.parametrize(("images", "groups", "parts"), [(400, 30, 5), (60, 60, 4), (50, 5, 5), (90, 7, 3)])
def test_members_each_group_is_in_one_fold(images: int, groups: int, parts: int) -> None:
    codes = np.concatenate([np.arange(groups), np.random.default_rng(0).integers(0, groups, images - groups)])
    is_test = np.array([folds.members(images, number, parts, codes) for number in range(parts)])
    assert (is_test.sum(axis=0) == 1).all()
    for group in range(groups):
        assert len(np.unique(is_test.argmax(0)[codes == group])) == 1
    sizes = is_test.sum(axis=1)
    assert sizes.min() > 0
    assert np.ptp(sizes) <= np.bincount(codes).max()


def test_members_fewer_groups_than_folds_leaves_the_last_ones_empty() -> None:
    """Groups of 6, 1 and 3 images; the smallest fold comes first, so that it is the one to hold out."""
    codes = np.array([0] * 6 + [1] + [2] * 3)
    assert [folds.members(10, number, 5, codes).sum() for number in range(5)] == [1, 3, 6, 0, 0]


def test_train_members_keep_the_groups_of_the_tensors_together(tmp_path: Path, workspace: Workspace) -> None:
    tensors = tensors_of(patient_folder(tmp_path / "scans"), workspace, group_by=r"(p\d+)_")
    codes = read_groups(tensors, "train")
    for number in range(4):
        is_test = folds.train_members(tensors, number, 4)
        assert 0 < is_test.sum() < tensors.train
        assert not set(codes[is_test]) & set(codes[~is_test])


def test_train_members_of_one_single_group_are_parted_and_that_is_said(
    tmp_path: Path, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    """p000 is train, p001 test and p002 val by the hash of the name."""
    root = tmp_path / "scans"
    for number in range(24):
        name = f"{'ab'[number % 2]}/p{number % 3:03}_{number:02}.png"
        put(root / name, encoded(noise(number, 8, 8)))
    tensors = tensors_of(root, workspace, group_by=r"(p\d+)_")
    assert 0 < folds.train_members(tensors, 0, 2).sum() < tensors.train
    assert "the train images are of one group" in caplog.text
