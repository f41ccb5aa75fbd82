"""Which score of few photos is nearer to the truth: that of a small test set, or cross-validation?

python benchmarks/cross_validation.py FOLDER                           # 20 draws of 10 to 100 photos a class
python benchmarks/cross_validation.py FOLDER --draws 5 --per-class 10

From a folder of photos (<class>/*), some photos a class are drawn, and the others are the truth: no model and
no score sees them. What a run of `--recipe probe` would do with the drawn ones is done: a fifth of each class
is the test set, a tenth of the others the val set, and a linear classifier is fitted to the rest. Its test
score is compared with its accuracy on the other photos. The cross-validated score over all drawn photos is
compared with the accuracy on the other photos of both models that it stands for: the model of all drawn
photos, and the published one. Features of all photos are computed once.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.config import EmbedSettings, NormalizeSettings, SourceSettings
from tasks.core.data.cross_validation import assignment
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import SPLITS, open_split
from tasks.core.metrics import intervals
from tasks.core.model.backbones import catalog
from tasks.core.model.features import embed
from tasks.core.model.features.reading import averaged, open_features
from tasks.core.model.selection.out_of_fold import probed
from tasks.core.operations import environment
from tasks.core.workspace import Workspace

FOLDS = 5
TEST, VAL = 5, 10  # one in so many images of a class
Floats = NDArray[np.float32]
Labels = NDArray[np.int32]


def features_of(folder: Path, workspace: Path) -> tuple[Floats, Labels]:
    """Features of all photos, the views averaged, and their labels."""
    opened = Workspace.open(workspace)
    raw = acquire.acquire(SourceSettings(dataset=str(folder)), opened)
    tensors = normalize.normalize(raw, NormalizeSettings(), opened)
    features = embed.embed(raw, tensors, EmbedSettings(catalog.DEFAULT), opened)
    values = [averaged(open_features(features, split)) for split in SPLITS]
    return np.concatenate(values), np.concatenate([open_split(tensors, split).labels for split in SPLITS])


def drawn(labels: Labels, per_class: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """That many photos of each class, bool (N,)."""
    chosen = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        chosen[generator.choice(np.flatnonzero(labels == label), per_class, replace=False)] = True
    return chosen


def accuracy(
    features: Floats, labels: Labels, trained: NDArray[np.bool_], tested: NDArray[np.bool_]
) -> float:
    """Accuracy on some photos of a classifier of others."""
    used = trained | tested
    probabilities = probed(features[used], labels[used], tested[used], int(labels.max()) + 1)
    return float((probabilities.argmax(1) == labels[tested]).mean())


def one_draw(features: Floats, labels: Labels, per_class: int, seed: int) -> dict[str, float]:
    """The scores of one draw, and the accuracies on the photos that were not drawn."""
    sample = drawn(labels, per_class, np.random.default_rng([seed, per_class]))
    numbers, alone = np.flatnonzero(sample), np.arange(sample.sum())
    values, own = features[numbers], labels[numbers]
    test = assignment.stratified(own, alone, TEST) == 0
    val = np.zeros(len(own), bool)
    val[~test] = assignment.held_back(own[~test], alone[~test], 1 / VAL)
    published = np.zeros(len(labels), bool)
    published[numbers[~test & ~val]] = True
    classes = int(labels.max()) + 1
    seen = ~val
    on_test = probed(values[seen], own[seen], test[seen], classes).argmax(1) == own[test]
    folds, crossed = assignment.stratified(own, alone, FOLDS), np.zeros(len(own), bool)
    for number in range(FOLDS):
        tested = folds == number
        crossed[tested] = probed(values, own, tested, classes).argmax(1) == own[tested]
    row = {"per_class": per_class, "images": len(own), "test_images": int(test.sum())}
    for name, correct in (("test", on_test), ("crossed", crossed)):
        low, high = intervals.wilson(np.array(correct.sum()), np.array(len(correct)))
        row |= {name: float(correct.mean()), f"{name}_low": low, f"{name}_high": high}
    return row | {
        "published": accuracy(features, labels, published, ~sample),
        "final": accuracy(features, labels, sample, ~sample),
    }


def compared(rows: pd.DataFrame, score: str, truth: str) -> dict[str, float]:
    """Mean absolute error, bias, and coverage of the interval, of a score against an accuracy."""
    errors = rows[score] - rows[truth]
    inside = (rows[f"{score}_low"] <= rows[truth]) & (rows[truth] <= rows[f"{score}_high"])
    return {
        "error": float(errors.abs().mean()) * 100,
        "bias": float(errors.mean()) * 100,
        "coverage": float(inside.mean()) * 100,
        "width": float((rows[f"{score}_high"] - rows[f"{score}_low"]).mean()) * 100,
    }


def report(table: pd.DataFrame) -> None:
    """Print a markdown table, one row for each number of photos a class, and one for all."""
    print(
        "| photos a class | score | images | mean error | bias | width of interval | interval has the truth |"
    )
    print("|---|---|---|---|---|---|---|")
    pairs = {
        "test, of the published model": ("test", "published", "test_images"),
        "cross-validated, of the model of all": ("crossed", "final", "images"),
        "cross-validated, of the published model": ("crossed", "published", "images"),
    }
    groups = [*table.groupby("per_class"), ("all", table)]
    for name, rows in groups:
        for label, (score, truth, count) in pairs.items():
            found, images = compared(rows, score, truth), rows[count].iloc[0] if name != "all" else ""
            print(
                f"| {name} | {label} | {images} | {found['error']:.1f} | {found['bias']:+.1f} |"
                f" {found['width']:.0f} | {found['coverage']:.0f} % |"
            )
    nearer = (table["crossed"] - table["final"]).abs() < (table["test"] - table["published"]).abs()
    print(f"nearer to its truth in {nearer.mean():.0%} of {len(table)} draws: cross-validation")
    for name, rows in table.groupby("per_class"):
        gain = (rows["final"] - rows["published"]) * 100
        deviation = gain.std() / np.sqrt(len(gain))
        print(
            f"{name} a class: on the other photos the model of all has {rows['final'].mean():.1%}, the"
            f" published one {rows['published'].mean():.1%}: {gain.mean():+.1f} points,"
            f" standard error {deviation:.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 20, 50, 100])
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--workspace", type=Path, help="keeps the features for another call")
    arguments = parser.parse_args()
    environment.prepare()
    with tempfile.TemporaryDirectory() as temporary:
        features, labels = features_of(arguments.folder, arguments.workspace or Path(temporary))
        began = time.process_time()
        rows = [
            one_draw(features, labels, per_class, seed)
            for per_class in arguments.per_class
            for seed in range(arguments.draws)
        ]
    print(f"{len(labels):,} photos, {arguments.draws} draws of each size, errors in points")
    report(pd.DataFrame(rows))
    print(f"{time.process_time() - began:.0f} CPU-seconds")


if __name__ == "__main__":
    main()
