import numpy as np
import pytest

from tasks.core.data.tensors import folds
from tests.support.fake_outputs import FakeOutputs


@pytest.mark.parametrize(("count", "parts"), [(80, 5), (83, 5), (7, 7), (10, 3)])
def test_each_image_is_in_one_fold_and_the_folds_are_alike_in_size(count: int, parts: int) -> None:
    held = np.array([folds.members(count, number, parts) for number in range(parts)])
    assert (held.sum(axis=0) == 1).all()
    assert np.ptp(held.sum(axis=1)) <= 1


def test_a_fold_has_the_images_of_its_rows(workspace) -> None:
    tensors = FakeOutputs(workspace).tensors()
    made = folds.fold(tensors, 1, 3, workspace)
    held = folds.members(tensors.train, 1, 3)
    for split, rows in (("test", held), ("train", ~held)):
        for kind in ("images", "labels"):
            whole = np.load(tensors.directory / f"train.{kind}.npy")
            np.testing.assert_array_equal(np.load(made.directory / f"{split}.{kind}.npy"), whole[rows])
    np.testing.assert_array_equal(
        np.load(made.directory / "val.images.npy"), np.load(tensors.directory / "val.images.npy")
    )
    assert (made.train, made.val, made.test) == (int((~held).sum()), tensors.val, int(held.sum()))
    assert folds.fold(tensors, 1, 3, workspace) == made
    assert folds.fold(tensors, 2, 3, workspace).digest != made.digest
