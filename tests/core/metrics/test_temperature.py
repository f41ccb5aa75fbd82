import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from tasks.core.metrics import temperature


def drawn(images: int, warmth: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits that must be divided by `warmth` to be right about them."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2.0, size=(images, 5))
    cumulated = softmax(logits, axis=1).cumsum(axis=1)
    labels = (generator.random((images, 1)) > cumulated).sum(axis=1)
    return labels, (logits * warmth).astype(np.float32)


@pytest.mark.parametrize("warmth", [0.3, 1.0, 4.0])
def test_it_has_the_least_log_loss_of_scikit_learn(warmth: float) -> None:
    labels, logits = drawn(10_000, warmth)
    found = temperature.fit(labels, logits)
    assert found == pytest.approx(warmth, rel=0.05)
    losses = {scale: log_loss(labels, softmax(logits / (found * scale), axis=1)) for scale in (0.98, 1, 1.02)}
    assert min(losses, key=losses.get) == 1


@pytest.mark.parametrize("images", [20, 138, 5000])
def test_images_that_are_all_right_prove_no_certainty(images: int) -> None:
    """With one margin for all, the probability is the rule of succession's: (N + 1) / (N + 2)."""
    labels = np.arange(images) % 4
    logits = np.eye(4)[labels] * 6
    found = temperature.fit(labels, logits)
    probability = softmax(logits / found, axis=1)[np.arange(images), labels]
    np.testing.assert_allclose(probability, (images + 1) / (images + 2), rtol=1e-4)


def test_it_does_not_depend_on_a_constant_in_the_logits() -> None:
    labels, logits = drawn(500, 2.0)
    shifted = logits + np.arange(500)[:, None]
    assert temperature.fit(labels, shifted) == pytest.approx(temperature.fit(labels, logits), rel=1e-4)
