"""Do the label suspects find wrong labels? Some are flipped, and counted in what confident learning lists.

python benchmarks/label_suspects.py                                        # the bundled digits
python benchmarks/label_suspects.py --dataset cifar10 --archive cifar-10-binary.tar.gz --archive-sha256 ...

Test labels are flipped after training, in `--seeds` ways: to any other class, or with --pairs to one other
class of each class. They are ranked by the probability that the label is wrong (what Plumbline does), by
class pruning of confident learning (what it did), by cleanlab's lists for the same probabilities, and by
chance. "Promised" is the share of the list that is wrong by Plumbline's estimate; "at its length" is the
recall of class pruning in as many images. With --folds, train labels are flipped by corrections before
training, and each is judged by a model that has not seen it.
"""

import argparse
import csv
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
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
from tasks.core.evaluation.label_issues import rows_in_doubt
from tasks.core.metrics.labels import confident_learning, label_noise
from tasks.core.model.inference import predict_splits
from tasks.core.model.training import cross_predict, train
from tasks.core.operations import environment
from tasks.core.stage.handles import TensorCache
from tasks.core.workspace import Workspace

Rows = NDArray[np.int64]
Probabilities = NDArray[np.float64]
Case = tuple[Rows, NDArray[np.bool_], NDArray[np.float32]]  # labels, which are wrong, probabilities
Ranking = Callable[[NDArray[np.int64], NDArray[np.float32]], Rows]


def wrong_probabilities(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Probabilities:
    return label_noise.fit(labels, probabilities).wrong(labels, probabilities)


def by_noise(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Rows:
    return rows_in_doubt(labels, probabilities, wrong_probabilities(labels, probabilities))


def by_cleanlab(labels: NDArray[np.int64], probabilities: NDArray[np.float32], *, filter_by: str) -> Rows:
    return np.asarray(
        find_label_issues(
            labels,
            probabilities.astype(float),
            filter_by=filter_by,
            return_indices_ranked_by="self_confidence",
            n_jobs=1,
        )
    )


def by_chance(labels: NDArray[np.int64], probabilities: NDArray[np.float32]) -> Rows:
    count = len(confident_learning.find_issues(labels, probabilities))
    return np.random.default_rng(12345).permutation(len(labels))[:count]


RANKINGS: dict[str, Ranking] = {
    "plumbline": by_noise,
    "class pruning": confident_learning.find_issues,
    "cleanlab: class": partial(by_cleanlab, filter_by="prune_by_class"),
    "cleanlab: noise rate": partial(by_cleanlab, filter_by="prune_by_noise_rate"),
    "cleanlab: joint": partial(by_cleanlab, filter_by="confident_learning"),
    "cleanlab: both": partial(by_cleanlab, filter_by="both"),
    "chance": by_chance,
}


def flipped(
    labels: NDArray[np.int32], classes: int, share: float, seed: int, pairs: bool = False
) -> tuple[Rows, NDArray[np.bool_]]:
    """Labels of which a share is wrong, and which; in pairs, each class becomes one other class."""
    generator = np.random.default_rng(seed)
    wrong = np.zeros(len(labels), bool)
    wrong[generator.permutation(len(labels))[: round(share * len(labels))]] = True
    steps = np.ones(len(labels), int) if pairs else generator.integers(1, classes, len(labels))
    other = (labels + steps) % classes
    return np.where(wrong, other, labels).astype(np.int64), wrong


def figures(rows: Rows, case: Case) -> list[float]:
    """Precision at 20, at 100, in the list; recall in the list; its length; recall of class pruning in it."""
    labels, wrong, told = case
    count = max(int(wrong.sum()), 1)
    pruned = confident_learning.find_issues(labels, told)[: len(rows)]
    precision = [float(wrong[rows[:k]].mean()) if len(rows) else 0.0 for k in (20, 100, None)]
    return [
        *precision,
        float(wrong[rows].sum() / count),
        float(len(rows)),
        float(wrong[pruned].sum() / count),
    ]


def show(title: str, cases: list[Case]) -> None:
    """A line a ranking: means over the cases, and the standard deviation of the precision."""
    flips = int(cases[0][1].sum())
    print(f"\n{title}: {flips} flips among {len(cases[0][0]):,}, {len(cases)} draws")
    print(f"{'':20} precision at 20   at 100        in the list   recall   listed   at its length")
    for name, rank in RANKINGS.items():
        found = np.array(
            [figures(rank(labels, told), (labels, wrong, told)) for labels, wrong, told in cases]
        )
        means, spread = found.mean(axis=0), found.std(axis=0)
        cells = "".join(f"{means[i]:8.2f} ± {spread[i]:.2f}" for i in range(3))
        print(f"{name:20} {cells}   {means[3]:6.2f} {means[4]:8.0f}   {means[5]:6.2f}")
    promised, expected = np.transpose([promise(case) for case in cases])
    print(
        f"promised precision {promised.mean():.2f} ± {promised.std():.2f}; wrong labels in all {flips},",
        end="",
    )
    print(f" estimated {expected.mean():.0f} ± {expected.std():.0f}")


def promise(case: Case) -> tuple[float, float]:
    """The estimated share of wrong labels in the list, and their number among all labels."""
    labels, _, told = case
    estimated = wrong_probabilities(labels, told)
    rows = rows_in_doubt(labels, told, estimated)
    return float(estimated[rows].mean()) if len(rows) else 0.0, float(estimated.sum())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--archive", type=Path)
    parser.add_argument("--archive-sha256")
    parser.add_argument("--recipe", type=RecipeName, default=RecipeName.fast)
    parser.add_argument("--share", type=float, default=0.02, help="share of the labels that are flipped")
    parser.add_argument("--pairs", action="store_true", help="flip each class to one other class")
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
    told = np.load(made.path_of("test"))
    labels = np.array(open_split(cache, "test").labels)
    print(f"{cache.dataset}, {given.recipe}: test accuracy {np.mean(told.argmax(axis=1) == labels):.2%}")
    draws = [
        flipped(labels, len(cache.classes), given.share, seed, given.pairs) for seed in range(given.seeds)
    ]
    show("test", [(*draw, told) for draw in draws])


def on_train(source: SourceSettings, given: argparse.Namespace, workspace: Workspace) -> None:
    clean = normalize.normalize(acquire.acquire(source, workspace), NormalizeSettings(), workspace)
    labels, wrong = flipped(
        np.array(open_split(clean, "train").labels), len(clean.classes), given.share, 0, given.pairs
    )
    path = workspace.root / f"flips.{os.getpid()}.csv"
    _write(path, clean, labels, wrong)
    corrupted = SourceSettings(source.dataset, source.archive, source.archive_sha256, path)
    cache = normalize.normalize(acquire.acquire(corrupted, workspace), NormalizeSettings(), workspace)
    now = np.array(open_split(cache, "train").labels).astype(np.int64)
    wrong = now != np.array(open_split(clean, "train").labels)
    made = cross_predict.cross_predict(cache, TrainSettings(given.recipe), given.folds, workspace)
    told = np.load(made.path_of("train"))
    right = np.mean((told.argmax(axis=1) == now)[~wrong])
    print(f"\n{given.folds} folds: {right:.2%} of the other labels predicted")
    show(f"train, {given.folds} folds", [(now, wrong, told)])


def _write(path: Path, cache: TensorCache, labels: Rows, wrong: NDArray[np.bool_]) -> None:
    """The flips as corrections, by the images' ids; copies of an image get one label."""
    table = pq.read_table(cache.directory / "rows.parquet", columns=["split", "row", "image_id"]).to_pylist()
    ids = {row["row"]: row["image_id"] for row in table if row["split"] == "train"}
    rows = {ids[int(row)]: cache.classes[labels[row]] for row in np.flatnonzero(wrong)}
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("image_id", "class_name"), *rows.items()])


if __name__ == "__main__":
    main()
