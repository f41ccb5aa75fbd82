"""What a test set can tell: exact power, against values by hand and a simulation of the gate's own test."""

import numpy as np
import pytest
from scipy.stats import binom

from tasks.core.metrics.comparison import detectable


def test_six_images_must_all_favour_one_model() -> None:
    """5 of 5 has p = 0.0625, 6 of 6 has 0.031: six discordant images are the least that prove anything."""
    assert detectable.of_comparison(3, 5).half is None
    six = detectable.of_comparison(3, 6)
    # All six must be discordant and favour it: difference ** 6 = 0.5, and 0.8.
    assert six.half == pytest.approx(0.5 ** (1 / 6), abs=1e-6)
    assert six.most == pytest.approx(0.8 ** (1 / 6), abs=1e-6)


@pytest.mark.parametrize(("images", "discordant"), [(48, 12), (200, 30), (2000, 100)])
def test_power_of_the_detectable_differences(images: int, discordant: int) -> None:
    found = detectable.of_comparison(discordant, images)
    generator = np.random.default_rng(0)
    for difference, level in ((found.half, 0.5), (found.most, 0.8)):
        assert difference is not None
        share = max(discordant / images, difference)
        better = (share + difference) / 2
        counts = generator.multinomial(images, [better, share - better, 1 - share], 1500)
        wins, losses = counts[:, 0], counts[:, 1]
        proven = 2 * binom.sf(wins - 1, wins + losses, 0.5) < 0.05  # McNemar's exact test
        assert np.mean(proven) == pytest.approx(level, abs=0.045)  # 3 standard errors


def test_more_images_tell_smaller_differences_and_groups_tell_larger_ones() -> None:
    correct = np.arange(400) % 10 > 0
    few, many = detectable.of_outcomes(correct[:40]), detectable.of_outcomes(correct)
    assert few.most > many.most > many.half
    grouped = detectable.of_outcomes(np.repeat(correct[:40], 10), np.arange(400) // 10)
    assert grouped.independent < 41
    assert grouped.most > few.most * 0.95  # as 40 images: another rule of succession
    assert "tell as much as" in detectable.sentence(grouped)


def test_large_test_sets_agree_with_the_approximation_of_connor() -> None:
    """n = (1.960 sqrt(d) + 0.842 sqrt(d - x^2))^2 / x^2, solved for x at n = 10,000, d = 0.1: 0.00885."""
    assert detectable.of_comparison(1000, 10_000).most == pytest.approx(0.00885, rel=0.02)
