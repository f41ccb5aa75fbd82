"""How often the gate promotes: equal challengers (it must not) and better ones (it should), by simulation.

python benchmarks/gate_power.py [--duels 4000]

A duel: both models answer the same N test images. They disagree in outcome on a share of them; of these,
each model wins its share. A challenger that is `gain` better wins `gain` more of all images. That is all
that the gate sees of two models, so no images are needed.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.metrics import intervals
from tasks.core.metrics.comparison import paired

DISAGREE = (
    0.15  # share of images on which exactly one is right; 0.15 is usual for two CIFAR-10 models at 75 %
)


def promoted(gain: float, images: int, disagree: float, duels: int, seed: int = 0) -> float:
    """Share of duels in which the challenger is promoted under the policy `better`.

    Args:
        gain: True difference of accuracy, 0..disagree.
        images: Number of test images.
        disagree: Share of the images on which exactly one model is right, 0..1.
        duels: Number of simulated duels.
    """
    generator = np.random.default_rng([seed, images, round(disagree * 1000), round(gain * 10_000)])
    shares = [(disagree + gain) / 2, (disagree - gain) / 2, 1 - disagree]
    outcomes, times = np.unique(generator.multinomial(images, shares, size=duels), axis=0, return_counts=True)
    verdicts = [
        paired.compare_counts(*map(int, outcome[:2]), both=int(outcome[2]), neither=0) for outcome in outcomes
    ]
    return float(np.average([verdict.better for verdict in verdicts], weights=times))


def bound(images: int, disagree: float) -> float:
    """Exact probability that McNemar's test alone favours an equal challenger: the gate's is no larger."""
    discordant = np.arange(images + 1)
    enough = binom.isf(paired.ALPHA / 2, discordant, 0.5)
    return float(np.sum(binom.pmf(discordant, images, disagree) * binom.sf(enough, discordant, 0.5)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--duels", type=int, default=4000, help="simulated duels for each figure")
    duels = parser.parse_args().duels
    print(f"equal challengers promoted, {duels:,} duels each (2.5 % is the promise)")
    print("images   disagree   promoted   95 % interval     exact bound")
    for images in (300, 1000, 10_000):
        for disagree in (0.02, 0.05, 0.15, 0.3):
            share = promoted(0.0, images, disagree, duels)
            low, high = intervals.wilson(np.asarray(round(share * duels)), np.asarray(duels))
            ends = f"{float(low):.2%} to {float(high):.2%}"
            print(f"{images:6,}   {disagree:8.0%}   {share:8.2%}   {ends}   {bound(images, disagree):10.2%}")
    print(f"\nbetter challengers promoted, disagreeing on {DISAGREE:.0%} of the images, {duels:,} duels each")
    gains = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05)
    print("images " + "".join(f"{gain * 100:+8.2f}" for gain in gains) + "   points of accuracy")
    for images in (1000, 2000, 5000, 10_000):
        row = "".join(f"{promoted(gain, images, DISAGREE, duels):8.1%}" for gain in gains)
        print(f"{images:6,} {row}")


if __name__ == "__main__":
    main()
