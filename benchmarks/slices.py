"""Slices that are worse than the rest: how often a bad one is found, and how often one is named by chance.

python benchmarks/slices.py [--draws 200]

The predictions are cross-validated ones of the digits of scikit-learn (logistic regression, 359 test images).
Each draw gives each image a site (8 values), a camera (20), a season (4), a device (6) and a side (2) at
random: 40 slices. "bad" shuffles the labels of one site. "hard classes" gives the three hardest classes
mostly to one site, which is no reason to call it worse; "ignored" compares without classes. "groups" has
150 groups of 10 images, alike to a correlation of 0.3, each at one site and so on; "bad" has an accuracy of
50 % at one site instead of 70 to 95 %. "parted groups" has a season for each image.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.evaluation.slices import slice_table
from tasks.core.evaluation.slices.values import Attribute

VALUES = {"site": 8, "camera": 20, "season": 4, "device": 6, "side": 2}
CLASSES = [str(label) for label in range(10)]
GROUPS, SIZE = 150, 10
HARD = ("hard classes", "hard classes, ignored")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Labels and cross-validated predictions of the digits, each image predicted once."""
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    images, labels = load_digits(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001, max_iter=200))
    return labels, cross_val_predict(model, images, labels, cv=5)


def attributes(generator: np.random.Generator, count: int) -> dict[str, Attribute]:
    """Random columns for so many images or groups."""
    return {
        name: Attribute(name, tuple(map(str, range(values))), generator.integers(0, values, count))
        for name, values in VALUES.items()
    }


def on_digits(
    generator: np.random.Generator, kind: str, labels: np.ndarray, predicted: np.ndarray
) -> set[str]:
    """The slices that are called worse in a draw of test images of the digits."""
    rows = generator.permutation(len(labels))[:359]
    labels, predicted = labels[rows].copy(), predicted[rows]
    columns = attributes(generator, len(rows))
    site = columns["site"].codes
    if kind == "bad":
        labels[site == 0] = generator.permutation(labels[site == 0])
    elif kind.startswith("hard classes"):
        hardest = np.argsort(np.bincount(labels, predicted == labels) / np.bincount(labels))[:3]
        site[np.isin(labels, hardest) & (generator.random(len(rows)) < 0.8)] = 0
    classes = np.zeros_like(labels) if kind.endswith("ignored") else labels
    return called(predicted == labels, classes, None, columns)


def on_groups(generator: np.random.Generator, kind: str) -> set[str]:
    """The slices that are called worse in a draw of simulated groups."""
    labels = generator.integers(0, 3, GROUPS)
    columns, group = attributes(generator, GROUPS), np.repeat(np.arange(GROUPS), SIZE)
    accuracy = np.array([0.95, 0.85, 0.7])[labels]
    if kind == "bad":
        accuracy = np.where(columns["site"].codes == 0, 0.5, accuracy)
    own = generator.beta(accuracy * 7 / 3, (1 - accuracy) * 7 / 3)
    correct = generator.random(len(group)) < own[group]
    columns = {name: Attribute(name, each.values, each.codes[group]) for name, each in columns.items()}
    if kind == "parted groups":
        columns["season"] = Attribute(
            "season", columns["season"].values, generator.integers(0, 4, len(group))
        )
    return called(correct, labels[group], group, columns)


def called(
    correct: np.ndarray, labels: np.ndarray, groups: np.ndarray | None, columns: dict[str, Attribute]
) -> set[str]:
    table = slice_table.slice_table(correct, labels, groups, columns, CLASSES)
    found = slice_table.worse(table)
    return {f"{row.attribute}={row.value}" for row in found.itertuples()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=200, help="simulated test sets for each figure")
    draws = parser.parse_args().draws
    labels, predicted = digits()
    print(f"digits, accuracy {np.mean(labels == predicted):.1%}, {draws} draws of 359 test images")
    for name, kinds in {"digits": ("bad", "none", *HARD), "groups": ("bad", "none", "parted groups")}.items():
        for number, kind in enumerate(kinds):
            generators = [np.random.default_rng([number, len(name), draw]) for draw in range(draws)]
            found = [
                on_digits(each, kind, labels, predicted) if name == "digits" else on_groups(each, kind)
                for each in generators
            ]
            bad = np.mean(["site=0" in each for each in found])
            others = np.mean([bool(each - {"site=0"}) for each in found])
            some = np.mean([bool(each) for each in found])
            print(f"  {name}, {kind}: site 0 found {bad:.1%}, others {others:.1%}, any {some:.1%}")


if __name__ == "__main__":
    main()
