"""Does it favour the newest model if a person corrects only the test labels that it doubts?

python benchmarks/review_bias.py [--draws 4000] [--wrong 0.05]

Two equally good models are compared on test images of which some have a wrong label. A person looks at the
most confident mistakes: of the newest model only, or half of them of each model. Wrong labels among them are
corrected. Then the models are compared on the corrected labels. Both are equal, so the mean difference should
be 0, and the exact test should find the newest model better in at most 2.5 % of the draws.
"""

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

IMAGES, CLASSES, MISTAKES = 1000, 10, 0.1
RIGHT, WRONG = (8, 2), (4, 3)  # Beta distributions of the confidence of right and of wrong answers
Labels = NDArray[np.int64]


def another(labels: Labels, which: NDArray[np.bool_], generator: np.random.Generator) -> Labels:
    """The labels, with a random other class where `which` is true."""
    return np.where(which, (labels + generator.integers(1, CLASSES, len(labels))) % CLASSES, labels)


def surest_mistakes(
    answers: Labels, confidence: NDArray[np.float64], labels: Labels, count: int
) -> NDArray[np.int64]:
    wrong = np.flatnonzero(answers != labels)
    return wrong[np.argsort(-confidence[wrong])][:count]


def draw(seed: int, wrong: float, count: int) -> dict[str, tuple[int, int]]:
    """For each way of choosing: images that only the newest, and only the other model predicts correctly."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, CLASSES, IMAGES)
    labels = another(truth, generator.random(IMAGES) < wrong, generator)
    models = []
    for _ in range(2):
        answers = another(truth, generator.random(IMAGES) < MISTAKES, generator)
        right = answers == truth
        confidence = np.where(right, generator.beta(*RIGHT, IMAGES), generator.beta(*WRONG, IMAGES))
        models.append((answers, confidence))
    lists = {
        "no correction": np.array([], int),
        "the newest model's mistakes": surest_mistakes(*models[0], labels, count),
        "both models' mistakes": np.union1d(
            *(surest_mistakes(*model, labels, count // 2) for model in models)
        ).astype(int),
    }
    outcomes = {}
    for name, looked_at in lists.items():
        corrected = labels.copy()
        corrected[looked_at] = truth[looked_at]
        newest, other = (answers == corrected for answers, _ in models)
        outcomes[name] = int((newest & ~other).sum()), int((other & ~newest).sum())
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--draws", type=int, default=4000)
    parser.add_argument("--wrong", type=float, default=0.05)
    parser.add_argument("--looked-at", type=int, default=40)
    options = parser.parse_args()
    draws = [draw(seed, options.wrong, options.looked_at) for seed in range(options.draws)]
    for name in draws[0]:
        pairs = np.array([outcomes[name] for outcomes in draws])
        points = (pairs[:, 0] - pairs[:, 1]) / IMAGES * 100
        found = [
            binomtest(won, won + lost, alternative="greater").pvalue <= 0.025 for won, lost in pairs.tolist()
        ]
        interval = binomtest(sum(found), len(found)).proportion_ci()
        error = 1.96 * points.std() / len(points) ** 0.5
        print(
            f"{name:<28} {points.mean():+.2f} ± {error:.2f} points; found better in {np.mean(found):.1%} "
            f"({interval.low:.1%} to {interval.high:.1%}) of {len(found):,} draws"
        )


if __name__ == "__main__":
    main()
