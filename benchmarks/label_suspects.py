"""Do the label suspects find wrong labels? Some are flipped, and counted in what confident learning lists.

python benchmarks/label_suspects.py                                        # the bundled digits
python benchmarks/label_suspects.py --dataset cifar10 --archive cifar-10-binary.tar.gz --archive-sha256 ...

Test labels are flipped after training, in `--seeds` ways, and ranked by: the label's probability (what
Plumbline does), the margin, cleanlab's list for the same probabilities, and chance. With --folds, train
labels are flipped by corrections before training, and each is judged by a model that has not seen it.
"""

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from cleanlab.filter import find_label_issues
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.config import NormalizeSettings, RecipeName, SourceSettings, TrainSettings
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import open_split
from tasks.core.metrics import classification, confident_learning
from tasks.core.model.inference import predict_splits
from tasks.core.model.training import cross_predict, train
from tasks.core.operations import environment
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace

Rows = NDArray[np.int64]
Ranking = Callable[[NDArray[np.int64], NDArray[np.float32]], Rows]


def by_margin(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Rows:
    rows = confident_learning.find_issues(labels, probabilities)
    return rows[np.argsort(classification.margins(labels[rows], probabilities[rows]), kind="stable")]


def by_cleanlab(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Rows:
    return np.asarray(
        find_label_issues(
            labels,
            probabilities.astype(float),
            filter_by="prune_by_class",
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
    )


def by_chance(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Rows:
    count = len(confident_learning.find_issues(labels, probabilities))
    return np.random.default_rng(12345).permutation(len(labels))[:count]


RANKINGS: dict[str, Ranking] = {
    "plumbline": confident_learning.find_issues,
    "by margin": by_margin,
    "cleanlab": by_cleanlab,
    "chance": by_chance,
}


def flipped(
    labels: NDArray[np.int32], classes: int, share: float, seed: int
) -> tuple[Rows, NDArray[np.bool_]]:
    """Labels of which a share is wrong, and which."""
    generator = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), bool)
    wrong[generator.permutation(len(labels))[: round(share * len(labels))]] = True
    other = (labels + generator.integers(1, classes, len(labels))) % classes
    return np.where(wrong, other, labels).astype(np.int64), wrong


def figures(rows: Rows, wrong: NDArray[np.bool_]) -> list[float]:
    """Precision at 20, at 100 and at the number of flips; recall in the list; its length."""
    count = int(wrong.sum())
    precision = [float(wrong[rows[:k]].mean()) if len(rows) else 0.0 for k in (20, 100, count)]
    return [*precision, float(wrong[rows].sum() / count), float(len(rows))]


def show(title: str, cases: list[tuple[Rows, NDArray[np.bool_], NDArray[np.float32]]]) -> None:
    """A line a ranking: means over the cases, and the standard deviation of the precision."""
    flips = int(cases[0][1].sum())
    print(f"\n{title}: {flips} flips among {len(cases[0][0]):,}, {len(cases)} draws")
    print(f"{'':10} precision at 20   at 100          at {flips:<8} recall   listed")
    for name, rank in RANKINGS.items():
        found = np.array([figures(rank(labels, told), wrong) for labels, wrong, told in cases])
        means, spread = found.mean(axis=0), found.std(axis=0)
        cells = "".join(f"{means[i]:8.2f} ± {spread[i]:.2f}" for i in range(3))
        print(f"{name:10} {cells}   {means[3]:6.2f} {means[4]:8.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--archive-sha256")
    parser.add_argument("--recipe", type=RecipeName, default=RecipeName.fast)
    parser.add_argument("--share", type=float, default=0.02, help="share of the labels that are flipped")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--folds", type=int, default=0, help="flip train labels, too, and train so many models"
    )
    parser.add_argument("--workspace", type=Path, help="to keep what is trained")
    given = parser.parse_args()
    environment.prepare()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(given.workspace or folder)
        source = SourceSettings(given.dataset, given.archive, given.archive_sha256)
        on_test(source, given, workspace)
        if given.folds:
            on_train(source, given, workspace)


def on_test(source: SourceSettings, given: argparse.Namespace, workspace: Workspace) -> None:
    cache = normalize.normalize(acquire.acquire(source, workspace), NormalizeSettings(), workspace)
    model = train.train(cache, TrainSettings(given.recipe), workspace)
    made = predict_splits.predict_splits(model, cache, workspace)
    told = np.load(made.directory / "test.probabilities.npy")
    labels = np.array(open_split(cache, "test").labels)
    print(f"{cache.dataset}, {given.recipe}: test accuracy {np.mean(told.argmax(axis=1) == labels):.2%}")
    draws = [flipped(labels, len(cache.classes), given.share, seed) for seed in range(given.seeds)]
    show("test", [(*draw, told) for draw in draws])


def on_train(source: SourceSettings, given: argparse.Namespace, workspace: Workspace) -> None:
    clean = normalize.normalize(acquire.acquire(source, workspace), NormalizeSettings(), workspace)
    labels, wrong = flipped(
        np.array(open_split(clean, "train").labels), len(clean.classes), given.share, seed=0
    )
    path = workspace.root / f"flips.{os.getpid()}.csv"
    _write(path, clean, labels, wrong)
    corrupted = SourceSettings(source.dataset, source.archive, source.archive_sha256, path)
    cache = normalize.normalize(acquire.acquire(corrupted, workspace), NormalizeSettings(), workspace)
    now = np.array(open_split(cache, "train").labels).astype(np.int64)
    wrong = now != np.array(open_split(clean, "train").labels)
    made = cross_predict.cross_predict(cache, TrainSettings(given.recipe), given.folds, workspace)
    told = np.load(made.directory / "train.probabilities.npy")
    right = np.mean((told.argmax(axis=1) == now)[~wrong])
    print(f"\n{given.folds} folds: {right:.2%} of the other labels predicted")
    show(f"train, {given.folds} folds", [(now, wrong, told)])


def _write(path: Path, cache: TensorCache, labels: Rows, wrong: NDArray[np.bool_]) -> None:
    """The flips as corrections, by the images' ids; copies of an image get one label."""
    table = pq.read_table(cache.directory / "rows.parquet", columns=["split", "row", "image_id"]).to_pylist()
    ids = {row["row"]: row["image_id"] for row in table if row["split"] == "train"}
    rows = {ids[int(row)]: cache.classes[labels[row]] for row in np.flatnonzero(wrong)}
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image_id", "class_name"), *rows.items()])


if __name__ == "__main__":
    main()
