"""Similar images by invented features: unrelated directions, and copies near to them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tasks.core.model.features import similar_images
from tasks.core.model.features.reading import averaged
from tasks.core.model.features.whitening import Whitening

WIDTH = 160


def features(count: int, seed: int = 0, views: int = 2) -> NDArray[np.float16]:
    """Unrelated images whose features share a mean and have unequal variances, float16 (N, views, D)."""
    generator = np.random.default_rng(seed)
    scales = np.linspace(3.0, 0.5, WIDTH)
    values = 5 + generator.normal(size=(count, 1, WIDTH)) * scales
    return (values + generator.normal(0, 0.05, (count, views, WIDTH))).astype(np.float16)


def test_whitening_gives_coordinates_of_mean_0_and_variance_1() -> None:
    values = features(500)
    whitening = Whitening.of(values)
    coordinates = (averaged(values) - whitening.mean) @ whitening.directions
    np.testing.assert_allclose(coordinates.mean(0), 0, atol=1e-2)
    np.testing.assert_allclose(np.cov(coordinates.T, bias=True), np.eye(WIDTH), atol=1e-2)
    np.testing.assert_allclose(np.linalg.norm(whitening.unit_vectors(values), axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_whitening_in_blocks_is_that_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Whitening.of(features(300)).unit_vectors(features(300))
    monkeypatch.setattr("tasks.core.model.features.whitening.BLOCK", 7)
    parts = Whitening.of(features(300)).unit_vectors(features(300))
    np.testing.assert_allclose(np.abs(np.sum(whole * parts, axis=1)), 1, atol=1e-3)


def test_whitening_leaves_out_directions_without_variance() -> None:
    values = features(300)
    values[..., 10:] = 1
    assert Whitening.of(values).directions.shape == (WIDTH, 10)


def test_similar_pairs_are_the_copies_and_no_others() -> None:
    values = features(400)
    copies = values[:12] + np.random.default_rng(1).normal(0, 0.3, (12, 2, WIDTH))
    pairs = similar_images.similar_pairs(np.concatenate([values, copies.astype(np.float16)]))
    expected = {(row, 400 + row) for row in range(12)}
    assert set(zip(pairs.a.tolist(), pairs.b.tolist(), strict=True)) == expected
    assert (np.diff(pairs.distance) >= 0).all()
    assert pairs.distance[-1] <= 1


def test_similar_pairs_find_an_image_whose_views_are_swapped() -> None:
    """A mirrored copy has the views of its image in the other order."""
    values = features(300)
    values[:, 1] = features(300, seed=2)[:, 1]
    pairs = similar_images.similar_pairs(np.concatenate([values, values[:1, ::-1]]))
    assert list(zip(pairs.a, pairs.b, strict=True)) == [(0, 300)]
    assert pairs.distance[0] == pytest.approx(0, abs=1e-3)


def test_similar_pairs_of_few_images_are_not_looked_for() -> None:
    few = features(similar_images.MIN_IMAGES - 1)
    few[1] = few[0]
    assert not len(similar_images.similar_pairs(few).a)


def clusters() -> tuple[NDArray[np.float16], NDArray[np.int32]]:
    """Two classes of 60 images around two directions, and a third of 5."""
    labels = np.repeat([0, 1, 2], [60, 60, 5]).astype(np.int32)
    values = features(len(labels)).astype(np.float32)
    values[np.arange(len(labels)), :, labels] += 40
    return values.astype(np.float16), labels


def test_outliers_are_the_images_of_another_class() -> None:
    values, labels = clusters()
    labels[[3, 70]] = 1, 0
    similarity = similar_images.similarity_to_class(values, labels)
    assert sorted(np.argsort(similarity)[:2].tolist()) == [3, 70]
    assert similar_images.outliers(similarity)[[3, 70]].all()
    assert similar_images.outliers(similarity).sum() < 8  # one interquartile range: 2 % of normal values


def test_similarity_to_class_is_the_mean_cosine_with_the_nearest() -> None:
    values, labels = clusters()
    vectors = values.astype(np.float64).mean(1)
    vectors -= vectors.mean(0)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = np.sort(vectors[1:60] @ vectors[0])[-similar_images.NEIGHBOURS :].mean()
    similarity = similar_images.similarity_to_class(values, labels)
    assert similarity[0] == pytest.approx(expected, abs=1e-3)
    assert np.isnan(similarity[120:]).all()


def test_outliers_of_classes_that_are_all_small_are_none() -> None:
    similarity = similar_images.similarity_to_class(features(30), np.zeros(30, np.int32))
    assert not similar_images.outliers(similarity).any()
