"""Which images to label next: distances by hand, and the order of the choice."""

import numpy as np
import pytest

from tasks.core.metrics.labels import active_learning


def test_margins_are_the_first_minus_the_second_probability() -> None:
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], np.float32)
    assert active_learning.margins(probabilities) == pytest.approx([0.2, 0.7])


def test_first_choice_has_the_longest_gradient() -> None:
    """Computed by hand: errors of [0.5, 0.5], [0.1, 0.9] and [0.4, 0.6] times lengths 1, 2 and 1."""
    probabilities = np.array([[0.5, 0.5], [0.1, 0.9], [0.4, 0.6]], np.float32)
    embeddings = np.array([[1, 0], [0, 2], [0, 1]], np.float32)
    lengths = [0.5 * 2**0.5, 0.1 * 2**0.5 * 2, 0.4 * 2**0.5]
    assert active_learning.uncertain_and_diverse(probabilities, embeddings, 1, 0)[0] == np.argmax(lengths)


def test_copies_of_a_chosen_image_are_not_chosen() -> None:
    probabilities = np.full((6, 2), 0.5, np.float32)
    embeddings = np.array([[1, 0]] * 5 + [[0, 1]], np.float32)
    assert sorted(active_learning.uncertain_and_diverse(probabilities, embeddings, 4, 0)) == [0, 5]


def test_certain_images_are_not_chosen_before_uncertain_ones() -> None:
    generator = np.random.default_rng(0)
    probabilities = np.tile(np.array([0.999, 0.001], np.float32), (200, 1))
    probabilities[:20] = 0.5
    embeddings = generator.normal(size=(200, 30)).astype(np.float32)
    assert set(active_learning.uncertain_and_diverse(probabilities, embeddings, 10, 0)) <= set(range(20))


def test_draws_cover_clusters_better_than_the_least_certain_images() -> None:
    """Ten clusters; the images of the first one are the least certain by far too little to matter."""
    generator = np.random.default_rng(0)
    cluster = np.repeat(np.arange(10), 30)
    embeddings = (10 * np.eye(10)[cluster] + generator.normal(0, 0.1, (300, 10))).astype(np.float32)
    certain = 0.5 + 0.01 * (cluster > 0)
    probabilities = np.stack([certain, 1 - certain], axis=1).astype(np.float32)
    chosen = active_learning.uncertain_and_diverse(probabilities, embeddings, 10, 0)
    assert len(set(cluster[chosen])) == 10
    assert set(cluster[np.argsort(active_learning.margins(probabilities), kind="stable")[:10]]) == {0}


@pytest.mark.parametrize("images", [0, 3])
def test_no_more_images_are_chosen_than_there_are(images: int) -> None:
    probabilities, embeddings = np.full((images, 2), 0.5, np.float32), np.eye(3, dtype=np.float32)[:images]
    chosen = active_learning.uncertain_and_diverse(probabilities, embeddings, 10, 0)
    assert sorted(chosen) == list(range(images))
