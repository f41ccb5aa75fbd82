"""Descriptors, the learned distance, the search for close pairs and the alignment of their pixels."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits

from tasks.core.data.audit import alignment, descriptors, duplicates, neighbours
from tasks.core.data.audit.descriptors import Features
from tasks.core.data.audit.distance import LearnedDistance
from tests.support.synthetic_photos import Picture, brightened, mirrored, moved, recompressed, scenes

MOVES = [(down, across) for down in (-2, 0, 2) for across in (-2, 0, 2) if (down, across) != (0, 0)]
COPIES: dict[str, Callable[[Picture], Picture]] = {
    "recompressed": lambda picture: recompressed(picture, 50),
    "shifted": lambda picture: moved(picture, *MOVES[int(picture.sum()) % len(MOVES)]),
    "brightened": brightened,
    "mirrored": mirrored,
    "all of it": lambda picture: recompressed(brightened(moved(mirrored(picture), -2, 1)), 75),
}


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1), (20, 48, 3), (96, 64, 3)])
def test_a_mirrored_picture_has_the_same_even_and_the_opposite_odd_numbers(
    shape: tuple[int, int, int],
) -> None:
    pictures = scenes(5, side=max(shape), channels=shape[2])[:, : shape[0], : shape[1]]
    own, turned = descriptors.describe(pictures), descriptors.describe(pictures[:, :, ::-1])
    np.testing.assert_allclose(turned.even, own.even, atol=2e-3)
    np.testing.assert_allclose(turned.odd, -own.odd, atol=2e-3)
    assert np.abs(own.odd).max() > 0.1


def test_the_layout_is_scipys_cosine_transform() -> None:
    light = np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32)
    light -= light.mean()
    expected = dctn(light / (light.std() + descriptors.FLOOR), norm="ortho")[:8, :8]
    even = descriptors.describe(light[None, :, :, None])  # a grey picture
    down, across = np.indices((8, 8))
    kept = (down + across > 0) & (down + across <= 7) & (across % 2 == 0)
    np.testing.assert_allclose(even.even[0, : kept.sum()], expected[kept], atol=1e-4)


@pytest.mark.parametrize("side", [64, 96])
def test_large_pictures_are_averaged_as_pillow_does(side: int) -> None:
    picture = scenes(1, side=side)[0]
    expected = np.asarray(Image.fromarray(picture).resize((32, 32), Image.Resampling.BOX))
    np.testing.assert_allclose(descriptors.reduced(picture[None])[0], expected, atol=1)


@pytest.mark.parametrize("kind", COPIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_copies_of_other_pictures_lie_within_the_learned_radius(kind: str, channels: int) -> None:
    likeness = LearnedDistance.learn(scenes(600, seed=0, channels=channels))
    pictures = scenes(300, seed=1, channels=channels)
    copies = np.stack([COPIES[kind](picture) for picture in pictures])
    apart = likeness.distance(descriptors.describe(pictures), descriptors.describe(copies))
    others = likeness.distance(
        descriptors.describe(pictures), descriptors.describe(np.roll(copies, 1, axis=0))
    )
    assert np.mean(apart <= likeness.radius) >= 0.95
    assert np.mean(others <= likeness.radius) <= 0.02
    assert alignment.correlation(pictures.astype(np.float32), copies.astype(np.float32)).min() > 0.9


def test_drawings_allow_less_than_photos() -> None:
    """Handwritten digits, as large as MNIST's: different ones are more alike than photos ever are."""
    pixels, _ = load_digits(return_X_y=True)
    small = (pixels.reshape(-1, 8, 8) * 15).astype(np.uint8)
    large = [
        np.pad(np.asarray(Image.fromarray(digit).resize((20, 20), Image.Resampling.BICUBIC)), 4)
        for digit in small
    ]
    digits = np.stack(large)[..., None]
    likeness = LearnedDistance.learn(digits[:1000])
    assert likeness.pixel_tolerance < 0.003 < LearnedDistance.learn(scenes(200)).pixel_tolerance
    close = neighbours.within(likeness.project(descriptors.describe(digits)), likeness.radius)
    assert len(close.a) > 500
    lack = 1 - alignment.correlation(
        descriptors.reduced(digits[close.a]), descriptors.reduced(digits[close.b])
    )
    allowed = duplicates.allowance(likeness, close.distance / likeness.radius)
    assert np.sum(lack <= allowed) <= 2
    assert np.sum(lack <= 0.1 * (1 - close.distance / likeness.radius / 2)) > 500


def test_the_same_pictures_teach_the_same_distance() -> None:
    one, other = (LearnedDistance.learn(scenes(200)) for _ in range(2))
    assert one.radius == other.radius
    np.testing.assert_array_equal(one.even, other.even)


@pytest.mark.parametrize(("rows", "columns"), [(7, 13), (256, 2048)])
def test_close_pairs_are_scipys(monkeypatch: pytest.MonkeyPatch, rows: int, columns: int) -> None:
    monkeypatch.setattr(neighbours, "ROWS", rows)
    monkeypatch.setattr(neighbours, "COLUMNS", columns)
    generator = np.random.default_rng(0)
    even, odd = (generator.normal(size=(120, width)).astype(np.float32) for width in (4, 3))
    straight = cdist(np.hstack([even, odd]), np.hstack([even, odd]))
    turned = cdist(np.hstack([even, odd]), np.hstack([even, -odd]))
    expected = np.minimum(straight, turned)
    found = neighbours.within(Features(even, odd), 1.5)
    a, b = np.nonzero(np.triu(expected <= 1.5, 1))
    assert set(zip(found.a.tolist(), found.b.tolist(), strict=True)) == set(
        zip(a.tolist(), b.tolist(), strict=True)
    )
    np.testing.assert_allclose(found.distance, expected[found.a, found.b], atol=1e-3)
    assert (np.diff(found.distance) >= 0).all()


def test_of_too_many_pairs_the_closest_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "ROWS", 10)
    generator = np.random.default_rng(0)
    places = Features(*(generator.normal(size=(200, width)).astype(np.float32) for width in (4, 3)))
    everything = neighbours.within(places, 100.0)
    assert len(everything.a) == 200 * 199 // 2
    found = neighbours.within(places, 100.0, most=50)
    np.testing.assert_array_equal(found.a, everything.a[:50])
    np.testing.assert_array_equal(found.b, everything.b[:50])


def test_alignment_finds_a_move_and_a_mirror() -> None:
    pictures = scenes(20).astype(np.float32)
    for down, across in [(0, 0), (2, -3), (-3, 1)]:
        copies = np.stack([moved(picture, down, across)[:, ::-1] for picture in pictures]) * 0.7 + 12
        np.testing.assert_allclose(alignment.correlation(pictures, copies), 1, atol=1e-4)


def test_the_correlation_of_different_pictures_is_numpys_at_the_best_place() -> None:
    one, other = scenes(2, seed=5, channels=1).astype(np.float32)[..., 0]
    moves = range(-alignment.REACH, alignment.REACH + 1)
    expected = max(
        np.corrcoef(
            one[max(0, y) : 32 + min(0, y), max(0, x) : 32 + min(0, x)].ravel(),
            turned[max(0, -y) : 32 + min(0, -y), max(0, -x) : 32 + min(0, -x)].ravel(),
        )[0, 1]
        for turned in (other, other[:, ::-1])
        for y in moves
        for x in moves
    )
    (found,) = alignment.correlation(one[None, :, :, None], other[None, :, :, None])
    assert found == pytest.approx(expected, abs=1e-4)


def test_an_empty_picture_is_like_nothing() -> None:
    empty, picture = np.full((1, 32, 32, 3), 77, np.float32), scenes(1).astype(np.float32)
    assert alignment.correlation(empty, picture) == [0]
    assert alignment.correlation(empty, empty) == [0]


def test_pictures_are_not_held_in_full() -> None:
    """Of 30 pictures 480 and four copies of each are made twice: in full they would take 184 MB each time."""
    pictures = scenes(60, side=160)
    tracemalloc.start()
    LearnedDistance.learn(pictures)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 480 * 5 * pictures[0].nbytes / 2
