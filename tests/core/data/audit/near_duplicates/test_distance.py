"""Descriptors, the learned distance, and the search for close pairs."""

import tracemalloc
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from tasks.core.data.audit import descriptors, duplicates
from tasks.core.data.audit.descriptors import Descriptors
from tasks.core.data.audit.near_duplicates import alignment, neighbours
from tasks.core.data.audit.near_duplicates.distance import LearnedDistance
from tests.support.synthetic_photos import Picture, brightened, mirrored, moved, recompressed, scenes

MOVES = [(down, across) for down in (-2, 0, 2) for across in (-2, 0, 2) if (down, across) != (0, 0)]
COPIES: dict[str, Callable[[Picture], Picture]] = {
    "recompressed": lambda image: recompressed(image, 50),
    "shifted": lambda image: moved(image, *MOVES[int(image.sum()) % len(MOVES)]),
    "brightened": brightened,
    "mirrored": mirrored,
    "all of it": lambda image: recompressed(brightened(moved(mirrored(image), -2, 1)), 75),
}


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (20, 48, 3), (96, 64, 3)])
def test_describe_mirrored_image_keeps_even_and_negates_odd_numbers(
    shape: tuple[int, int, int],
) -> None:
    images = scenes(5, side=max(shape), channels=shape[2])[:, : shape[0], : shape[1]]
    original, mirror_image = descriptors.describe(images), descriptors.describe(images[:, :, ::-1])
    np.testing.assert_allclose(mirror_image.even, original.even, atol=2e-3)
    np.testing.assert_allclose(mirror_image.odd, -original.odd, atol=2e-3)
    assert np.abs(original.odd).max() > 0.1


def test_describe_layout_equals_scipys_cosine_transform() -> None:
    lightness = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    lightness -= lightness.mean()
    expected = dctn(lightness / (lightness.std() + descriptors.FLOOR), norm="ortho")[:8, :8]
    features = descriptors.describe(lightness[None, :, :, None])  # a grey image
    down, across = np.indices((8, 8))
    is_kept = (down + across > 0) & (down + across <= 7) & (across % 2 == 0)
    np.testing.assert_allclose(features.even[0, : is_kept.sum()], expected[is_kept], atol=1e-4)


@pytest.mark.parametrize("side", [64, 96])
def test_reduced_large_images_equals_pillows_box_filter(side: int) -> None:
    image = scenes(1, side=side)[0]
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BOX))
    np.testing.assert_allclose(descriptors.reduced(image[None])[0], expected, atol=1)


def test_learn_from_flat_images_gives_a_distance_of_zero() -> None:
    """Blank scans: their descriptors, and those of their copies, are the same."""
    flat = np.full((40, 32, 32, 1), np.arange(40, dtype=np.uint8)[:, None, None, None])
    learned = LearnedDistance.learn(flat)
    features = descriptors.describe(flat)
    assert learned.radius > 0
    np.testing.assert_array_equal(learned.distance(features, features), 0)
    close = neighbours.within(learned.project(features), learned.radius)
    assert len(close.a) == 40 * 39 / 2
    assert np.isfinite(close.distance / learned.radius).all()


@lru_cache
def learned_from_scenes(channels: int) -> LearnedDistance:
    return LearnedDistance.learn(scenes(600, seed=0, channels=channels))


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("perturbation", COPIES)
def test_learned_radius_contains_copies_of_unseen_images(perturbation: str, channels: int) -> None:
    learned = learned_from_scenes(channels)
    images = scenes(300, seed=1, channels=channels)
    copies = np.stack([COPIES[perturbation](image) for image in images])
    to_copies = learned.distance(descriptors.describe(images), descriptors.describe(copies))
    to_others = learned.distance(
        descriptors.describe(images), descriptors.describe(np.roll(copies, 1, axis=0))
    )
    assert np.mean(to_copies <= learned.radius) >= 0.95
    assert np.mean(to_others <= learned.radius) <= 0.02
    pairs = np.arange(600).reshape(2, 300)
    both = np.concatenate([images, copies]).astype(np.float32)
    assert alignment.pixel_correlation(both, *pairs).min() > 0.9


@pytest.mark.slow
def test_pixel_tolerance_of_drawings_is_smaller_than_of_photos() -> None:
    """Handwritten digits of MNIST's size: different digits correlate more than different photos."""
    pixels, _ = load_digits(return_X_y=True)
    small = (pixels.reshape(-1, 8, 8) * 15).astype(np.uint8)
    large = [
        np.pad(np.asarray(Image.fromarray(digit).resize((20, 20), Image.Resampling.BICUBIC)), 4)
        for digit in small
    ]
    digits = np.stack(large)[..., None]
    learned = LearnedDistance.learn(digits[:1000])
    assert learned.pixel_tolerance < 0.003 < learned_from_scenes(3).pixel_tolerance
    pairs = neighbours.within(learned.project(descriptors.describe(digits)), learned.radius)
    assert len(pairs.a) > 500
    difference = 1 - alignment.pixel_correlation(descriptors.reduced(digits), pairs.a, pairs.b)
    allowed = duplicates.allowance(learned, pairs.distance / learned.radius)
    assert np.sum(difference <= allowed) <= 2
    assert np.sum(difference <= 0.1 * (1 - pairs.distance / learned.radius / 2)) > 500


@pytest.mark.slow
def test_learn_same_images_give_the_same_distance() -> None:
    one, other = (LearnedDistance.learn(scenes(200)) for _ in range(2))
    assert one.radius == other.radius
    np.testing.assert_array_equal(one.even, other.even)


@pytest.mark.parametrize(("rows", "columns"), [(7, 13), (256, 2048)])
def test_within_pairs_equal_scipys(monkeypatch: pytest.MonkeyPatch, rows: int, columns: int) -> None:
    monkeypatch.setattr(neighbours, "ROWS", rows)
    monkeypatch.setattr(neighbours, "COLUMNS", columns)
    generator = np.random.default_rng(0)
    even, odd = (generator.normal(size=(120, width)).astype(np.float32) for width in (4, 3))
    plain_distance = cdist(np.hstack([even, odd]), np.hstack([even, odd]))
    mirrored_distance = cdist(np.hstack([even, odd]), np.hstack([even, -odd]))
    expected = np.minimum(plain_distance, mirrored_distance)
    pairs = neighbours.within(Descriptors(even, odd), 1.5)
    a, b = np.nonzero(np.triu(expected <= 1.5, 1))
    assert set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == set(
        zip(a.tolist(), b.tolist(), strict=True)
    )
    np.testing.assert_allclose(pairs.distance, expected[pairs.a, pairs.b], atol=1e-3)
    assert (np.diff(pairs.distance) >= 0).all()


def test_within_many_images_finds_the_pairs_of_neighbouring_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """3,000 points of 30 clusters and a near copy of each, mirrored or not, against the exact search."""
    generator = np.random.default_rng(0)
    centres = 4 * generator.normal(size=(30, 12))
    points = centres[generator.integers(0, 30, 3000)] + generator.normal(size=(3000, 12))
    copies = points + 0.05 * generator.normal(size=points.shape)
    copies[::2, 8:] *= -1
    even, odd = np.split(np.concatenate([points, copies]).astype(np.float32), [8], axis=1)
    exact = neighbours.within(Descriptors(even, odd), 0.5)
    monkeypatch.setattr(neighbours, "FEWEST", 1000)
    found = neighbours.within(Descriptors(even, odd), 0.5)
    expected, pairs = (set(zip(some.a.tolist(), some.b.tolist(), strict=True)) for some in (exact, found))
    assert len(pairs) == len(found.a)
    assert pairs <= expected
    assert len(pairs) >= 0.999 * len(expected) > 2900
    again = neighbours.within(Descriptors(even, odd), 0.5)
    np.testing.assert_array_equal(found.distance, again.distance)


def test_within_too_many_pairs_keeps_the_closest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ROWS", 10)
    generator = np.random.default_rng(0)
    coordinates = Descriptors(*(generator.normal(size=(200, width)).astype(np.float32) for width in (4, 3)))
    all_pairs = neighbours.within(coordinates, 100.0)
    assert len(all_pairs.a) == 200 * 199 // 2
    closest = neighbours.within(coordinates, 100.0, most=50)
    np.testing.assert_array_equal(closest.a, all_pairs.a[:50])
    np.testing.assert_array_equal(closest.b, all_pairs.b[:50])


@pytest.mark.stress  # tracemalloc makes it slow: 27 s
def test_learn_holds_few_full_size_images_in_memory() -> None:
    """480 images and four copies of each are made twice; at full size they would take 184 MB each time."""
    images = scenes(60, side=160)
    tracemalloc.start()
    LearnedDistance.learn(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 480 * 5 * images[0].nbytes / 2
