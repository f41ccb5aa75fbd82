"""What are labels of the images worth that `predict --label-next` names, beside labels of others?

python benchmarks/label_next.py --dataset PHOTOS [--labelled 50] [--draws 8]

A linear classifier of features learns from a few labelled photos. As many are then labelled: drawn by chance,
the least certain ones, or those that BADGE names. The accuracy is that on 400 photos that nothing has seen.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.config import EmbedSettings, NormalizeSettings, SourceSettings
from tasks.core.data.sources import acquire
from tasks.core.data.tensors import normalize
from tasks.core.data.tensors.cache import SPLITS, open_split
from tasks.core.metrics.labels import active_learning
from tasks.core.model.features import embed, reading
from tasks.core.model.transfer import head
from tasks.core.operations import environment
from tasks.core.workspace import Workspace

TEST, POOL = 400, 1000  # photos
Floats = NDArray[np.float32]
Rows = NDArray[np.int64]
Choice = Callable[[Floats, Floats, int, int], Rows]


def by_chance(probabilities: Floats, _: Floats, count: int, seed: int) -> Rows:
    return np.random.default_rng([seed, 1]).permutation(len(probabilities))[:count]


def least_certain(probabilities: Floats, _: Floats, count: int, seed: int) -> Rows:
    return np.argsort(active_learning.margins(probabilities), kind="stable")[:count]


CHOICES: dict[str, Choice] = {
    "chance": by_chance,
    "least certain": least_certain,
    "--label-next": active_learning.uncertain_and_diverse,
}


def photos(dataset: str, backbone: str, workspace: Workspace) -> tuple[Floats, NDArray[np.int32], int]:
    """Features and labels of all photos, and the number of classes."""
    raw = acquire.acquire(SourceSettings(dataset), workspace)
    tensors = normalize.normalize(raw, NormalizeSettings(), workspace)
    features = embed.embed(raw, tensors, EmbedSettings(backbone), workspace)
    values = np.concatenate([reading.averaged(reading.open_features(features, split)) for split in SPLITS])
    labels = np.concatenate([np.asarray(open_split(tensors, split).labels) for split in SPLITS])
    return values, labels.astype(np.int32), len(tensors.classes)


def probabilities_of(logits: Floats) -> Floats:
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(1, keepdims=True), np.float32)


def draw(values: Floats, labels: NDArray[np.int32], classes: int, count: int, seed: int) -> list[float]:
    """The accuracy before, and after each choice."""
    order = np.random.default_rng(seed).permutation(len(values))
    test, labelled, pool = order[:TEST], order[TEST : TEST + count], order[TEST + count :][:POOL]

    def accuracy(rows: Rows) -> float:
        logits = head.fit(values[rows], labels[rows], classes).logits(values[test])
        return float((logits.argmax(1) == labels[test]).mean())

    told = probabilities_of(head.fit(values[labelled], labels[labelled], classes).logits(values[pool]))
    chosen = [choose(told, values[pool], count, seed) for choose in CHOICES.values()]
    return [accuracy(labelled), *(accuracy(np.concatenate([labelled, pool[rows]])) for rows in chosen)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="a folder of photos, <class>/<photo>")
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--labelled", type=int, default=50, help="labelled photos, and labels added")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--workspace", type=Path, help="to keep what is computed")
    given = parser.parse_args()
    environment.prepare()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.open(given.workspace or folder)
        values, labels, classes = photos(given.dataset, given.backbone, workspace)
    found = np.array([draw(values, labels, classes, given.labelled, seed) for seed in range(given.draws)])
    print(f"{given.labelled} labelled photos, then twice as many; {given.draws} draws")
    for name, accuracies in zip(("before", *CHOICES), found.T, strict=True):
        error = accuracies.std(ddof=1) / len(accuracies) ** 0.5
        print(f"{name:14} {accuracies.mean():6.1%} ± {100 * error:.1f}")


if __name__ == "__main__":
    main()
