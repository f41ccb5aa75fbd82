import numpy as np
import pytest

from tasks.core.model.training import augmentation

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (60, 32, 32, 3), np.uint8)
ROWS = GENERATOR.permutation(1000)[:60]


def shifted(
    images: np.ndarray, rows: np.ndarray, seed: int = 1, epoch: int = 3, reach: int = 2
) -> np.ndarray:
    return augmentation.shift(images, rows, seed, epoch, reach)


def test_what_happens_to_an_image_depends_on_seed_epoch_and_row_alone() -> None:
    whole = shifted(IMAGES, ROWS)
    parts = [shifted(IMAGES[some], ROWS[some]) for some in np.split(np.arange(60), [1, 7, 40])]
    assert np.array_equal(np.concatenate(parts), whole)
    order = np.random.default_rng(1).permutation(60)
    assert np.array_equal(shifted(IMAGES[order], ROWS[order]), whole[order])
    assert not np.array_equal(shifted(IMAGES, ROWS, epoch=4), whole)
    assert not np.array_equal(shifted(IMAGES, ROWS, seed=2), whole)
    assert not np.array_equal(shifted(IMAGES, ROWS + 1), whole)


def test_an_image_is_moved_with_its_border_reflected() -> None:
    places = {
        np.pad(IMAGES[0], ((2, 2), (2, 2), (0, 0)), mode="reflect")[
            top : top + 32, left : left + 32
        ].tobytes()
        for top in range(5)
        for left in range(5)
    }
    plain = [shifted(IMAGES[:1], np.array([row]), epoch=epoch)[0] for row in range(100) for epoch in (0, 1)]
    seen = {image.tobytes() for image in plain}
    mirrored = {image[:, ::-1].tobytes() for image in plain}
    assert places <= seen | mirrored  # each of the 25 places comes up in 200 draws
    assert all((image.tobytes() in places) != (image[:, ::-1].tobytes() in places) for image in plain)


def test_two_epochs_show_a_colour_image_from_both_sides_once() -> None:
    for epoch in range(4):
        one, other = (augmentation.shift(IMAGES, ROWS, 5, epoch + more, 0) for more in (0, 1))
        assert np.array_equal(one[:, :, ::-1], other)
    mirrored = [np.array_equal(image, before[:, ::-1]) for image, before in zip(one, IMAGES, strict=True)]
    assert 15 < sum(mirrored) < 45


def test_grey_images_are_never_mirrored() -> None:
    grey = IMAGES[..., :1]
    assert np.array_equal(augmentation.shift(grey, ROWS, 1, 3, 0), grey)


@pytest.mark.parametrize(("side", "reach"), [(8, 0), (16, 1), (28, 1), (32, 2), (96, 2)])
def test_small_images_are_moved_less(side: int, reach: int) -> None:
    ramp = np.broadcast_to(np.arange(side, dtype=np.uint8)[:, None, None], (200, side, side, 1))
    moved = augmentation.shift(np.ascontiguousarray(ramp), np.arange(200), 0, 0, 2)
    middle = side // 2
    assert np.abs(moved[:, middle].astype(int) - middle).max() == reach
