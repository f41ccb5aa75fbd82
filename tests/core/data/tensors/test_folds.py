import numpy as np
import pytest

from tasks.core.data.tensors import folds
from tests.support.fake_outputs import FakeOutputs


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
