"""The correlation of pixels at the best alignment, compared with NumPy's `corrcoef` of the overlap."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.data.audit.near_duplicates import alignment
from tests.support.synthetic_photos import moved, scenes


def correlations(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of each image (N, h, w, C) with the other one at the same place."""
    pairs = np.arange(2 * len(one)).reshape(2, -1)
    return alignment.pixel_correlation(np.concatenate([one, other]), *pairs)


@pytest.mark.parametrize(("down", "across"), [(0, 0), (3, 0), (-2, 1), (1, -3)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_correlation_is_that_of_the_overlap_at_the_best_offset(
    down: int, across: int, mirrored: bool
) -> None:
    """A copy with other brightness and some noise, shifted; what came in at its borders is unlike."""
    generator = np.random.default_rng(0)
    one = generator.uniform(0, 255, (1, 16, 20, 1)).astype(np.float32)
    other = generator.uniform(0, 255, one.shape).astype(np.float32)
    ours, theirs = (
        (slice(max(0, down), 16 + min(0, down)), slice(max(0, across), 20 + min(0, across))),
        (slice(max(0, -down), 16 + min(0, -down)), slice(max(0, -across), 20 + min(0, -across))),
    )
    copy = 0.7 * one[0][ours] + 20 + generator.normal(0, 5, one[0][ours].shape)
    other[0][theirs] = copy
    expected = np.corrcoef(one[0][ours].ravel(), copy.ravel())[0, 1]
    turned = other[:, :, ::-1] if mirrored else other
    assert correlations(one, turned) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("noise", "alike"), [(20, True), (70, False)])
def test_colours_are_compared_where_the_luma_is_alike(noise: float, alike: bool) -> None:
    """Noise of luma, and more noise of blue, which counts for a ninth of it."""
    generator = np.random.default_rng(0)
    one = np.repeat(generator.uniform(0, 150, (1, 24, 24, 1)), 3, axis=3)
    other = one + generator.normal(0, noise, (1, 24, 24, 1))
    other[..., 2] += generator.normal(0, 60, (1, 24, 24))
    luma = np.corrcoef(*(np.ravel(image @ [0.299, 0.587, 0.114]) for image in (one, other)))[0, 1]
    ours, theirs = (np.ravel(image - image.mean((1, 2), keepdims=True)) for image in (one, other))
    colours = ours @ theirs / np.sqrt((ours @ ours) * (theirs @ theirs))
    assert (luma > 0.85) == alike
    assert abs(luma - colours) > 0.02
    found = correlations(one.astype(np.float32), other.astype(np.float32))
    assert found == pytest.approx(colours if alike else luma, abs=1e-4)


def test_correlation_shifted_and_mirrored_copies_are_aligned() -> None:
    images = scenes(20).astype(np.float32)
    for down, across in [(0, 0), (2, -3), (-3, 1)]:
        copies = np.stack([moved(image, down, across)[:, ::-1] for image in images]) * 0.7 + 12
        np.testing.assert_allclose(correlations(images, copies), 1, atol=1e-4)


@pytest.mark.parametrize("slope", [0, 9])
def test_correlation_of_different_images_equals_numpys_at_the_best_offset(slope: int) -> None:
    """With a slope across, what lies outside of an overlap has another mean than the rest."""
    one, other = scenes(2, seed=5, channels=1).astype(np.float32)[..., 0]
    one, other = one + slope * np.maximum(np.arange(32) - 26, 0) ** 2, other - slope * np.arange(32)
    offsets = range(-alignment.MAX_OFFSET, alignment.MAX_OFFSET + 1)
    expected = max(
        np.corrcoef(
            one[max(0, y) : 32 + min(0, y), max(0, x) : 32 + min(0, x)].ravel(),
            oriented[max(0, -y) : 32 + min(0, -y), max(0, -x) : 32 + min(0, -x)].ravel(),
        )[0, 1]
        for oriented in (other, other[:, ::-1])
        for y in offsets
        for x in offsets
    )
    (correlation,) = correlations(one[None, :, :, None], other[None, :, :, None])
    assert correlation == pytest.approx(expected, abs=1e-4)


def test_correlation_of_an_empty_image_is_zero() -> None:
    empty, image = np.full((1, 32, 32, 3), 77, np.float32), scenes(1).astype(np.float32)
    assert correlations(empty, image) == [0]
    assert correlations(empty, empty) == [0]


def test_images_of_several_pairs_have_the_correlations_of_each_pair_by_itself() -> None:
    images = scenes(6).astype(np.float32)
    one, other = np.array([0, 0, 4, 5, 0]), np.array([1, 2, 1, 0, 0])
    together = alignment.pixel_correlation(images, one, other)
    apart = np.concatenate(
        [correlations(images[a : a + 1], images[b : b + 1]) for a, b in zip(one, other, strict=True)]
    )
    np.testing.assert_allclose(together, apart, atol=1e-6)
    assert together[4] == pytest.approx(1)
    assert alignment.pixel_correlation(images, one[:0], other[:0]).shape == (0,)
