"""Augmentation by mirroring and shifting."""

import numpy as np
import pytest

from tasks.core.model.training.batches import augmentation

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (60, 32, 32, 3), np.uint8)
ROWS = GENERATOR.permutation(1000)[:60]


def shifted(
    images: np.ndarray, rows: np.ndarray, seed: int = 1, epoch: int = 3, max_shift: int = 2
) -> np.ndarray:
    """`augmentation.shift` with default arguments."""
    return augmentation.shift(images, rows, seed, epoch, max_shift)


def test_shift_depends_only_on_seed_epoch_and_row() -> None:
    expected = shifted(IMAGES, ROWS)
    parts = [shifted(IMAGES[part], ROWS[part]) for part in np.split(np.arange(60), [1, 7, 40])]
    assert np.array_equal(np.concatenate(parts), expected)
    order = np.random.default_rng(1).permutation(60)
    assert np.array_equal(shifted(IMAGES[order], ROWS[order]), expected[order])
    assert not np.array_equal(shifted(IMAGES, ROWS, epoch=4), expected)
    assert not np.array_equal(shifted(IMAGES, ROWS, seed=2), expected)
    assert not np.array_equal(shifted(IMAGES, ROWS + 1), expected)


def test_shift_reflects_the_border() -> None:
    all_shifts = {
        np.pad(IMAGES[0], ((2, 2), (2, 2), (0, 0)), mode="reflect")[
            top : top + 32, left : left + 32
        ].tobytes()
        for top in range(5)
        for left in range(5)
    }
    images = [shifted(IMAGES[:1], np.array([row]), epoch=epoch)[0] for row in range(100) for epoch in (0, 1)]
    contents = {image.tobytes() for image in images}
    mirrored = {image[:, ::-1].tobytes() for image in images}
    assert all_shifts <= contents | mirrored  # each of the 25 shifts is drawn in 200 draws
    assert all(
        (image.tobytes() in all_shifts) != (image[:, ::-1].tobytes() in all_shifts) for image in images
    )


def test_shift_in_two_epochs_mirrors_each_colour_image_once() -> None:
    for epoch in range(4):
        current, following = (augmentation.shift(IMAGES, ROWS, 5, epoch + offset, 0) for offset in (0, 1))
        assert np.array_equal(current[:, :, ::-1], following)
    mirrored = [
        np.array_equal(image, original[:, ::-1]) for image, original in zip(current, IMAGES, strict=True)
    ]
    assert 15 < sum(mirrored) < 45


def test_shift_of_grey_images_does_not_mirror() -> None:
    grey = IMAGES[..., :1]
    assert np.array_equal(augmentation.shift(grey, ROWS, 1, 3, 0), grey)


@pytest.mark.parametrize(("side", "max_shift"), [(8, 0), (16, 1), (28, 1), (32, 2), (96, 2)])
def test_shift_of_small_images_is_smaller(side: int, max_shift: int) -> None:
    ramp = np.broadcast_to(np.arange(side, dtype=np.uint8)[:, None, None], (200, side, side, 1))
    images = augmentation.shift(np.ascontiguousarray(ramp), np.arange(200), 0, 0, 2)
    middle = side // 2
    assert np.abs(images[:, middle].astype(int) - middle).max() == max_shift
