from collections.abc import Callable

import numpy as np
import pytest

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.model.training import overfit_check
from tasks.core.stage.handles import TensorCache

Make = Callable[..., TensorCache]


@pytest.mark.parametrize("recipe", [RecipeName.textbook, RecipeName.flash])
def test_a_sound_training_learns_a_batch_by_heart(tensors: Make, recipe: RecipeName) -> None:
    found = overfit_check.overfit_batch(tensors(), TrainSettings(recipe=recipe))
    assert found.passed
    assert (found.accuracy, found.images, found.problem) == (1, 64, "")
    assert str(found).startswith("pass: 100% of 64 images right after 300 steps")


def test_equal_images_with_different_labels_fail(tensors: Make) -> None:
    data = tensors()
    images = np.load(data.directory / "train.images.npy")
    images[:] = images[0]
    np.save(data.directory / "train.images.npy", images)
    found = overfit_check.overfit_batch(data, TrainSettings(recipe=RecipeName.flash))
    assert not found.passed
    assert found.accuracy < 0.6  # three classes share one picture
    assert "equal images with different labels" in str(found)


def test_a_divergence_fails_with_its_reason(tensors: Make) -> None:
    found = overfit_check.overfit_batch(
        tensors(), TrainSettings(recipe=RecipeName.textbook, learning_rate=1000.0)
    )
    assert not found.passed
    assert str(found).startswith("fail: ")
    assert "diverged" in found.problem


def test_a_dataset_smaller_than_a_batch_will_do(tensors: Make) -> None:
    found = overfit_check.overfit_batch(tensors(train=(5, 6)), TrainSettings(recipe=RecipeName.flash))
    assert found.passed
    assert found.images == 11
