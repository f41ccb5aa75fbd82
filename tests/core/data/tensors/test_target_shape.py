from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from tasks.core.data.decode import Target
from tasks.core.data.readers.base import DecodedImage, DecodeFailure, ImageIndex, ImageRef
from tasks.core.data.tensors.reuse import ReusableCache
from tasks.core.data.tensors.target_shape import ShapeMismatch, TargetShape


@dataclass
class Source:
    """Images by their original height, width and channels; None for one that cannot be read."""

    originals: list[tuple[int, int, int] | None]
    shape: tuple[int, int, int] | None = None
    classes: tuple[str, ...] = ("a", "b")
    published: bool = False

    def rows(self) -> ImageIndex:
        return ImageIndex.of(ImageRef(str(n), f"{n}.png", "", 0) for n in range(len(self.originals)))

    def images(self, wanted: Sequence[int], target: Target) -> Iterator[DecodedImage | DecodeFailure]:
        for number in wanted:
            original = self.originals[number]
            if original is None:
                yield DecodeFailure(number, "broken")
            else:
                yield DecodedImage(number, np.zeros((1, 1, target.channels), np.uint8), original)


def inferred(originals: list[tuple[int, int, int] | None], image_size: int | None = None) -> TargetShape:
    return shape_of(Source(originals), image_size)


def shape_of(source: Source, image_size: int | None = None) -> TargetShape:
    return TargetShape.of(
        source, image_size, np.arange(len(source.originals)), source.rows(), ReusableCache()
    )


@pytest.mark.parametrize(
    ("originals", "shape"),
    [
        pytest.param([(48, 64, 3)] * 3, (48, 64, 3), id="one size is kept"),
        pytest.param([(48, 64, 3), (64, 48, 3)], (48, 48, 3), id="several sizes become a square"),
        pytest.param([(28, 28, 1)] * 3, (28, 28, 1), id="grey stays grey"),
        pytest.param([(28, 28, 1), (28, 28, 3)], (28, 28, 3), id="one colour image makes all colour"),
        pytest.param([(7, 28, 3)] * 3, (32, 32, 3), id="too small to be kept"),
        pytest.param([(129, 129, 3)] * 3, (96, 96, 3), id="too large to be kept"),
        pytest.param([(3000, 4000, 3), (4000, 3000, 3)], (96, 96, 3), id="photos become 96"),
        pytest.param([(63, 80, 3)] + [(90, 70, 3)] * 3, (48, 48, 3), id="nine in ten fill the square"),
        pytest.param([(20, 30, 3), (30, 20, 3)], (32, 32, 3), id="icons are enlarged to 32"),
        pytest.param([None, (48, 48, 3)], (48, 48, 3), id="broken ones don't count"),
        pytest.param([None], (32, 32, 1), id="nothing readable"),
    ],
)
def test_target_shape_is_inferred_from_images(
    originals: list[tuple[int, int, int] | None], shape: tuple[int, int, int]
) -> None:
    assert inferred(originals).shape == shape


def test_target_shape_requested_size_overrides() -> None:
    assert inferred([(48, 64, 3)] * 3, image_size=96).shape == (96, 96, 3)
    requested = shape_of(Source([(8, 8, 1)], shape=(8, 8, 1)), 16)
    assert requested.shape == (16, 16, 1)


def test_target_shape_of_a_fixed_source_is_kept() -> None:
    assert shape_of(Source([], shape=(32, 32, 3))).shape == (32, 32, 3)


def test_check_image_of_another_size_changes_the_shape() -> None:
    target_shape = inferred([(48, 64, 3)] * 3)
    target_shape.check((48, 64, 3))
    with pytest.raises(ShapeMismatch) as mismatch:
        target_shape.check((48, 65, 3))
    assert mismatch.value.target_shape.shape == (48, 48, 3)
    mismatch.value.target_shape.check((1000, 1000, 3))  # no image changes it again


def test_check_colour_image_changes_the_shape() -> None:
    target_shape = inferred([(28, 28, 1)] * 3)
    with pytest.raises(ShapeMismatch) as mismatch:
        target_shape.check((28, 28, 3))
    assert mismatch.value.target_shape.shape == (28, 28, 3)
    mismatch.value.target_shape.check((28, 28, 1))
