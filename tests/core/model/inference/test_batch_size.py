"""A batch of the predictor is bounded in values and in images: it is filled up with zeros."""

import pytest

from tasks.core.model.inference import predictor


@pytest.mark.parametrize(
    ("shape", "images"),
    [((8, 8, 1), 1024), ((28, 28, 1), 1003), ((32, 32, 3), 256), ((224, 224, 3), 5), ((2000, 2000, 3), 1)],
)
def test_images_of_a_batch(shape: tuple[int, ...], images: int) -> None:
    """786,432 values by hand: 1,003 times 784, 256 times 3,072, 5 times 150,528."""
    assert predictor.batch_size(shape) == images
