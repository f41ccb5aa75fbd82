import numpy as np
import pytest
from scipy import ndimage

from tasks.core.data.audit import image_stats
from tests.support.sample_files import noise

SIZES = np.array([[20, 40]])


def test_image_stats_of_one_colour_equal_hand_computed_values() -> None:
    images = np.tile(np.array([200, 100, 50], np.uint8), (1, 8, 8, 1))
    stats = {name: float(values[0]) for name, values in image_stats.of(images, SIZES).items()}
    assert stats == pytest.approx(
        {
            "brightness": 0.299 * 200 + 0.587 * 100 + 0.114 * 50,
            "contrast": 0,
            "red": 200,
            "green": 100,
            "blue": 50,
            "sharpness": 0,
            "pixels": 800,
            "shape": 2,
        },
        abs=1e-3,
    )


def test_sharpness_equals_the_deviation_of_scipys_laplacian() -> None:
    images = noise(1, 12, 9, 1)[None, :, :, None]
    expected = ndimage.laplace(images[0, :, :, 0].astype(float))[1:-1, 1:-1].std()
    stats = image_stats.of(images, SIZES)
    assert stats["sharpness"][0] == pytest.approx(expected, rel=1e-5)
    assert "red" not in stats
    assert stats["brightness"][0] == pytest.approx(images.mean(), rel=1e-5)


def test_image_stats_do_not_depend_on_blocks() -> None:
    images = np.stack([noise(seed, 8, 8) for seed in range(image_stats.BLOCK + 3)])
    sizes = np.full((len(images), 2), 8)
    all_stats, last_stats = image_stats.of(images, sizes), image_stats.of(images[-1:], sizes[-1:])
    assert all(values[-1] == last_stats[name][0] for name, values in all_stats.items())
