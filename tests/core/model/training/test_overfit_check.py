"""The overfit check on small striped images."""

from collections.abc import Callable

import numpy as np
import pytest

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.model.training import overfit_check
from tasks.core.stage.handles import TensorCache

pytestmark = pytest.mark.slow

Make = Callable[..., TensorCache]


@pytest.mark.parametrize("recipe", [RecipeName.textbook, RecipeName.flash])
def test_overfit_batch_with_default_settings_passes(tensors: Make, recipe: RecipeName) -> None:
    result = overfit_check.overfit_batch(tensors(), TrainSettings(recipe=recipe))
    assert result.passed
    assert (result.accuracy, result.images, result.problem) == (1, 64, "")
    assert str(result).startswith("pass: 100.00 % of 64 images right after 300 steps")


def test_overfit_batch_with_equal_images_and_different_labels_fails(tensors: Make) -> None:
    data = tensors()
    images = np.load(data.directory / "train.images.npy")
    images[:] = images[0]
    np.save(data.directory / "train.images.npy", images)
    result = overfit_check.overfit_batch(data, TrainSettings(recipe=RecipeName.flash))
    assert not result.passed
    assert result.accuracy < 0.6  # all three classes have the same image
    assert "equal images with different labels" in str(result)


def test_overfit_batch_with_diverging_training_fails_with_reason(tensors: Make) -> None:
    result = overfit_check.overfit_batch(
        tensors(), TrainSettings(recipe=RecipeName.textbook, learning_rate=1000.0)
    )
    assert not result.passed
    assert str(result).startswith("fail: ")
    assert "diverged" in result.problem


def test_overfit_batch_with_fewer_images_than_a_batch_passes(tensors: Make) -> None:
    result = overfit_check.overfit_batch(tensors(train=(5, 6)), TrainSettings(recipe=RecipeName.flash))
    assert result.passed
    assert result.images == 11
