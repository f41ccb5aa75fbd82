"""Copies of kinds that the distance is not learned from are told from other images by their edges."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from scipy.ndimage import gaussian_filter

from tasks.core.data.audit.near_duplicates import registration


def photos(count: int, seed: int = 0) -> np.ndarray:
    """Smooth random pictures, uint8 (count, 32, 32, 3)."""
    noise = np.random.default_rng(seed).normal(size=(count, 32, 32, 3))
    smooth = gaussian_filter(noise, (0, 2, 2, 0))
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "cropped": lambda image: image.crop((4, 1, 31, 28)).resize((32, 32), Image.Resampling.BICUBIC),
    "rotated": lambda image: image.rotate(4, Image.Resampling.BICUBIC),
    # Before the steps at full size, two thirds of these agree.
    "rotated far": lambda image: image.rotate(10, Image.Resampling.BICUBIC),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.6),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "sharpened": lambda image: image.filter(ImageFilter.UnsharpMask(2, 100, 0)),
}


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("mirrored", [False, True])
def test_edges_of_copies_agree(kind: str, mirrored: bool) -> None:
    images = photos(30)
    copies = np.stack([np.asarray(COPIES[kind](Image.fromarray(image))) for image in images])
    turned = copies[:, :, ::-1] if mirrored else copies
    smooth, turned = (registration.smoothed(side.astype(np.float32)) for side in (images, turned))
    edges = registration.edge_correlation(smooth, turned, np.full(30, mirrored))
    assert np.mean(edges >= registration.SAME) >= 0.9


def test_edges_of_different_images_disagree() -> None:
    one, other = (registration.smoothed(photos(200, seed).astype(np.float32)) for seed in (1, 2))
    assert registration.edge_correlation(one, other, np.zeros(200, bool)).max() < registration.SAME


@pytest.mark.parametrize("shape", [(17, 23, 1), (16, 16, 3)])
def test_images_of_odd_sides_and_without_contrast_are_compared(shape: tuple[int, int, int]) -> None:
    empty = registration.smoothed(np.full((2, *shape), 7, np.float32))
    assert registration.edge_correlation(empty, empty, np.array([False, True])).tolist() == [0, 0]


def test_edges_of_one_spot_are_worth_few_pixels_and_those_of_stripes_all() -> None:
    y, x = np.mgrid[:32, :32].astype(np.float32)
    spot = 100 * np.exp(-((y - 10) ** 2 + (x - 20) ** 2) / 4)
    slope = 3 * x  # the same gradient everywhere
    worth = registration.spread(np.stack([spot, slope, np.zeros_like(x)]))
    assert worth[0] < 40
    assert worth[1:] == pytest.approx([1024, 0])
