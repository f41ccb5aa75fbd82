"""The gate on images in groups: false promotions, power and coverage of the intervals, by simulation.

python benchmarks/gate_groups.py [--draws 2000]

Groups of 20 images that are nearly the same: in 9 of 10 groups all images have one outcome, in the others
each has its own. "alike" has equal groups, "uneven" has groups of 1 to 150 images, mean 20. "related" has a
correlation of 0.3 within groups instead.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.metrics import cluster
from tasks.core.metrics.comparison import paired

SIZE, DISAGREE, LEVEL = 20, 0.15, 0.025
Outcomes = tuple[np.ndarray, np.ndarray, np.ndarray]


def draw(generator: np.random.Generator, groups: int, kind: str, shares: tuple[float, ...]) -> Outcomes:
    """A test set: the sizes of its groups, the group of each image, and the outcome of each image.

    Args:
        generator: The random generator.
        groups: Number of groups.
        kind: "alike", "uneven" or "related".
        shares: Probability of each outcome, 0, 1, 2, ...
    """
    sizes = 1 + generator.geometric(1 / SIZE, groups) if kind == "uneven" else np.full(groups, SIZE)
    of = np.repeat(np.arange(groups), sizes)
    if kind == "related":
        own = generator.dirichlet(np.array(shares) * 7 / 3, groups)  # correlation 1 / (1 + 7/3)
        outcomes = (generator.random(len(of))[:, None] > own.cumsum(axis=1)[of][:, :-1]).sum(axis=1)
    else:
        same = generator.choice(len(shares), groups, p=shares)
        alone = generator.choice(len(shares), len(of), p=shares)
        outcomes = np.where((generator.random(groups) < 0.9)[of], same[of], alone)
    return sizes, of, outcomes


def promotions(draws: int, groups: int, gain: float) -> tuple[float, float]:
    """Shares of draws in which the challenger is promoted by the image-wise and by the group-wise test."""
    generator = np.random.default_rng([groups, round(gain * 100)])
    shares = ((DISAGREE + gain) / 2, (DISAGREE - gain) / 2, 1 - DISAGREE)
    promoted = np.zeros(2)
    for _ in range(draws):
        _, of, outcomes = draw(generator, groups, "alike", shares)
        differences = (outcomes == 0).astype(float) - (outcomes == 1)
        by_group = cluster.totals(of, differences)
        promoted += (
            cluster.flip_p_value(differences) <= LEVEL,
            cluster.flip_p_value(by_group) <= LEVEL
            and cluster.difference(by_group, cluster.sizes_of(of))[0] > 0,
        )
    return float(promoted[0] / draws), float(promoted[1] / draws)


def coverage(draws: int, groups: int, kind: str) -> list[float]:
    """Shares of draws whose interval has the truth (75 %; 5 points), by images and by groups."""
    generator, hits = np.random.default_rng([groups, len(kind)]), np.zeros(4)
    for _ in range(draws):
        _, of, outcomes = draw(generator, groups, kind, (0.75, 0.25))
        correct, alone = outcomes == 0, np.arange(len(of))
        ends = [cluster.rate(correct, alone), cluster.rate(correct, of)]
        _, of, outcomes = draw(generator, groups, kind, (0.1, 0.05, 0.85))
        differences = (outcomes == 0).astype(float) - (outcomes == 1)
        for by in (np.arange(len(of)), of):
            ends.append(cluster.difference(cluster.totals(by, differences), cluster.sizes_of(by)))
        hits += [
            low <= truth <= high for (low, high), truth in zip(ends, (0.75, 0.75, 0.05, 0.05), strict=True)
        ]
    return [float(hit) for hit in hits / draws]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=2000, help="simulated test sets for each figure")
    draws = parser.parse_args().draws
    assert paired.ALPHA / 2 == LEVEL  # noqa: S101
    print(f"groups of {SIZE} alike, {draws:,} draws: promoted by the image-wise, by the group-wise test")
    for groups in (10, 25, 50, 200):
        equal, better = promotions(draws, groups, 0.0), promotions(draws, groups, 0.05)
        print(
            f"  {groups:4} groups   equal {equal[0]:6.1%} {equal[1]:6.1%}   "
            f"5 points better {better[0]:6.1%} {better[1]:6.1%}"
        )
    print(
        f"\ncoverage of 95 % intervals, {draws:,} draws: accuracy by images, by groups; difference likewise"
    )
    for kind in ("related", "alike", "uneven"):
        for groups in (10, 20, 50, 200):
            found = coverage(draws, groups, kind)
            print(f"  {kind:8} {groups:4} groups   " + "  ".join(f"{share:6.1%}" for share in found))


if __name__ == "__main__":
    main()
