"""The gate over many nights: equal models promoted, better ones found, the champion's luck; a simulation.

python benchmarks/gate_over_time.py [--careers 2000]

A career: each night a retrained model challenges the champion on the same N test images and on as many val
images. The models disagree on 15 % of the images; on the others the outcome is the same. All retrainings are
equally good, except for one in some tables. Beside the gate's rule (`registry/promotion/error_budget.py`)
stand the one before it, 2.5 % each night, and the rules that were tried.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import ndtr
from scipy.stats import binom

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.metrics.comparison import selection_bias
from tasks.core.registry.promotion.error_budget import TOTAL, share_to_spend

DISAGREE = 0.15  # share of images on which exactly one of two models is right
NIGHTS, GAIN = 30, 0.02

Floats = np.ndarray
Rule = Callable[[int, Floats, Floats], Floats]  # night, evidence on val, part left -> level


def fixed(night: int, evidence: Floats, left: Floats) -> Floats:
    return np.full(len(left), 0.025)


def telescoping(m: float) -> Rule:
    """Levels 0.05 m / ((k + m - 1) (k + m)), which add up to 0.05."""
    return lambda night, evidence, left: np.full(len(left), TOTAL * m / ((night + m - 1) * (night + m)))


def by_val(night: int, evidence: Floats, left: Floats) -> Floats:
    return left * np.array([share_to_spend(value) for value in evidence])


RULES: dict[str, Rule] = {
    "2.5 % each night (before)": fixed,
    "error budget by val (now)": by_val,
    "telescoping, m = 1": telescoping(1),
    "telescoping, m = 4": telescoping(4),
    "telescoping, m = 30": telescoping(30),
    "5 % of what is left": lambda night, evidence, left: 0.05 * left,
    "half by val, smooth": lambda night, evidence, left: 0.5 * left * ndtr(evidence - 2),
    "half if val > 1.64": lambda night, evidence, left: 0.5 * left * (evidence > 1.645),
}


@dataclass
class Careers:
    """Whether an equal model was ever promoted, whether the better one was, and the luck in points."""

    equal: Floats
    better: Floats
    luck: Floats
    corrected: Floats


def simulate(rule: Rule, images: int, careers: int, better_on: int = 0, seed: int = 0) -> Careers:
    """Careers of `NIGHTS` nights, or until the better model has come.

    Only the images matter on which models differ: twice `DISAGREE` of all, each right with probability 1/2.
    They are alike, so the champion's number of right ones is all that has to be known.

    Args:
        rule: The level of each night.
        images: Number of test images, and of val images.
        careers: Number of careers.
        better_on: The night of a model that is `GAIN` better; 0 for none.
        seed: Of the random generator.
    """
    generator = np.random.default_rng([seed, images, better_on])
    open_images = round(2 * DISAGREE * images)
    test, val = generator.binomial(open_images, 0.5, (2, careers))
    left, estimated = np.full(careers, TOTAL), np.zeros(careers)
    equal, better = np.zeros(careers, bool), np.zeros(careers, bool)
    for night in range(1, (better_on or NIGHTS) + 1):
        right = 0.5 + (GAIN / (2 * DISAGREE) if night == better_on else 0)
        won, lost = _night(generator, test, open_images, right)
        val_won, val_lost = _night(generator, val, open_images, right)
        evidence = (val_won - val_lost) / np.sqrt(np.maximum(val_won + val_lost, 1))
        level = rule(night, evidence, left)
        left = left - level
        promoted = binom.sf(won - 1, won + lost, 0.5) <= level
        for career in np.flatnonzero(promoted):
            error = np.sqrt(won[career] + lost[career]) / images
            gained = (won[career] - lost[career]) / images
            estimated[career] = selection_bias.luck(gained, error, float(level[career]))
        test, val = test + promoted * (won - lost), val + promoted * (val_won - val_lost)
        better, equal = (promoted, equal) if night == better_on else (better, equal | promoted)
    luck = (test - open_images / 2) / images * 100
    return Careers(equal, better, luck, luck - estimated * 100)


def _night(
    generator: np.random.Generator, champion: Floats, count: int, right: float
) -> tuple[Floats, Floats]:
    """Images that only the challenger, and that only the champion, has right."""
    return generator.binomial(count - champion, right), generator.binomial(champion, 1 - right)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--careers", type=int, default=2000, help="simulated careers for each figure")
    careers = parser.parse_args().careers
    for images in (500, 2000, 10_000):
        print(
            f"\n{images:,} test images, {careers:,} careers: an equal model ever promoted in {NIGHTS} nights,"
        )
        print("and a model 2 points better promoted that comes in night 1, 5, 30")
        for name, rule in RULES.items():
            ever = simulate(rule, images, careers).equal.mean()
            found = [simulate(rule, images, careers, night).better.mean() for night in (1, 5, 30)]
            print(f"  {name:26} {ever:6.1%}    " + "".join(f"{share_found:7.1%}" for share_found in found))
    print(
        f"\nthe champion's luck in points after {NIGHTS} nights of equal models: all; where one was promoted"
    )
    for images in (500, 2000, 10_000):
        for name, rule in list(RULES.items())[:2]:
            done = simulate(rule, images, careers)
            some = done.equal
            print(
                f"  {images:6,}  {name:26} {done.luck.mean():5.2f}, corrected {done.corrected.mean():5.2f};  "
                f"{done.luck[some].mean():5.2f}, corrected {done.corrected[some].mean():5.2f}"
            )


if __name__ == "__main__":
    main()
