import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

from tasks.core.metrics import temperature


def draw_logits(images: int, true_temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and logits that are calibrated after division by `true_temperature`."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2.0, size=(images, 5))
    cumulative = softmax(logits, axis=1).cumsum(axis=1)
    labels = (generator.random((images, 1)) > cumulative).sum(axis=1)
    return labels, (logits * true_temperature).astype(np.float32)


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 4.0])
def test_fit_has_the_lowest_log_loss_of_scikit_learn(true_temperature: float) -> None:
    labels, logits = draw_logits(10_000, true_temperature)
    fitted = temperature.fit(labels, logits)
    assert fitted == pytest.approx(true_temperature, rel=0.05)
    losses = {
        scale: log_loss(labels, softmax(logits / (fitted * scale), axis=1)) for scale in (0.98, 1, 1.02)
    }
    assert min(losses, key=losses.get) == 1


@pytest.mark.parametrize("images", [20, 138, 5000])
def test_fit_all_images_correct_gives_the_rule_of_succession(images: int) -> None:
    """If all images have the same margin, the probability is (N + 1) / (N + 2)."""
    labels = np.arange(images) % 4
    logits = np.eye(4)[labels] * 6
    fitted = temperature.fit(labels, logits)
    probability = softmax(logits / fitted, axis=1)[np.arange(images), labels]
    np.testing.assert_allclose(probability, (images + 1) / (images + 2), rtol=1e-4)


def test_fit_constant_added_to_logits_changes_nothing() -> None:
    labels, logits = draw_logits(500, 2.0)
    shifted = logits + np.arange(500)[:, None]
    assert temperature.fit(labels, shifted) == pytest.approx(temperature.fit(labels, logits), rel=1e-4)


def test_choose_takes_a_temperature_that_is_proven_to_help() -> None:
    labels, logits = draw_logits(1000, 3.0)
    choice = temperature.choose(labels, logits)
    assert choice.temperature == temperature.fit(labels, logits) == pytest.approx(3, rel=0.15)
    assert choice.reason.startswith(
        "a temperature is proven to help by 1,000 val images: the log loss falls by"
    )


@pytest.mark.parametrize("images", [66, 1000])
def test_choose_takes_none_for_calibrated_logits(images: int) -> None:
    """In a calibrated world a temperature is taken in about 5 % of cases, here by 40 seeds."""
    chosen = [temperature.choose(*draw_logits(images, 1.0, seed)) for seed in range(40)]
    assert sum(choice.temperature != 1 for choice in chosen) <= 4
    none = next(choice for choice in chosen if choice.temperature == 1)
    assert none.reason.startswith(f"no temperature: {images:,} val images do not prove that one helps")


def test_choose_takes_none_by_too_few_images() -> None:
    labels, logits = draw_logits(29, 5.0)
    assert temperature.choose(labels, logits) == temperature.Choice(
        1.0, "no temperature: 29 val images are too few to prove that one helps"
    )


def test_choose_counts_groups_instead_of_their_images() -> None:
    labels, logits = draw_logits(29, 3.0)
    copies = np.repeat(labels, 20), np.repeat(logits, 20, axis=0)
    assert temperature.choose(*copies).temperature != 1
    grouped = temperature.choose(*copies, groups=np.repeat(np.arange(29), 20))
    assert grouped.reason == "no temperature: 29 groups of val images are too few to prove that one helps"
