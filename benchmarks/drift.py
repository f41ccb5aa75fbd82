"""Drift: how often it is seen where it is, and where it isn't.

python benchmarks/drift.py --workspace workspace --dataset digits --dataset cifar10 [--splits 200]

False alarms, of random splits: the images that a model was not trained on (val and test) fall into two
halves, of which one is the profile; a batch is the other half, or a part of it. False alarms of the stored
profile: it is compared with random halves of the test images. Detections: the stored profile against random
batches of changed test images. In brackets: in how many batches any corrected p-value is below 5 %, whatever
the distance. `--dataset` names published models of the workspace, whose tensors are still there.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.metrics import drift
from tasks.core.metrics.drift import Features
from tasks.core.model.inference import predictor, profile
from tasks.core.registry import registry
from tasks.core.reports import drift_report
from tasks.core.workspace import Workspace

Images = NDArray[np.uint8]
BATCHES = (100, 1000)  # images; and half of all
NOISE = 25.0  # grey levels, standard deviation
LIGHTER = 1.2


def noisy(images: Images) -> Images:
    noise = np.random.default_rng(1).normal(0, NOISE, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def brightened(images: Images) -> Images:
    return np.clip(images * LIGHTER, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Images], Images]] = {
    "inverted": lambda images: 255 - images,
    "rotated by 90 degrees": lambda images: np.rot90(images, axes=(1, 2)),
    f"noisy ({NOISE:g} grey levels)": noisy,
    f"brightened ({LIGHTER:g} times)": brightened,
}


class Subject:
    """A published model and the images that it was not trained on."""

    def __init__(self, dataset: str) -> None:
        self.version = registry.resolve(dataset, registry.CHAMPION, Workspace.active())
        self.scorer = predictor.load(self.version.directory / registry.MODEL)
        projection = profile.of_version(self.version)
        if projection is None:
            raise SystemExit(f"{dataset} {self.version.version} has no profile: train it again")
        self.projection = projection
        self.stored = drift_report.profile_features(self.version)

    def images(self, split: str) -> Images:
        facts = self.version.manifest["facts"]
        return np.load(Workspace.active().tensors / facts["tensors"] / f"{split}.images.npy", mmap_mode="r")

    def numbers(self, images: Images) -> Features:
        sizes = np.tile(images.shape[1:3], (len(images), 1))
        return profile.describe(images, sizes, *self.scorer.score(images), self.projection)


def some(numbers: Features, rows: NDArray[np.int64]) -> Features:
    return {name: values[rows] for name, values in numbers.items()}


def alarms(numbers: Features, reference: Features | None, size: int, splits: int) -> str:
    """Share of random batches that are called drifted, in words.

    Args:
        numbers: Of all images.
        reference: The profile; None takes one half of the images, and batches of the other.
    """
    generator = np.random.default_rng(0)
    count, found, proven = len(next(iter(numbers.values()))), 0, 0
    for _ in range(splits):
        order = generator.permutation(count)
        one, other = order[: count // 2], order[count // 2 :]
        against = some(numbers, one[: profile.IMAGES]) if reference is None else reference
        compared = drift.compare(against, some(numbers, other[:size]))
        found += bool(compared.drifted)
        proven += min(shift.p_value for shift in compared.shifts) <= 0.05
    return f"{found:4} of {splits} batches of {min(size, count - count // 2):,} ({proven})"


def report(dataset: str, splits: int) -> None:
    subject = Subject(dataset)
    test, val = subject.images("test"), subject.images("val")
    counts = f"{len(val):,} val and {len(test):,} test images"
    print(f"{dataset} {subject.version.version}, {splits} splits, {counts}")
    numbers = subject.numbers(test)
    held_out = {
        name: np.concatenate([values, subject.numbers(val)[name]]) for name, values in numbers.items()
    }
    for size in (*BATCHES, len(test)):
        print(f"  {'false alarms, random splits':36} {alarms(held_out, None, size, splits)}")
    for size in (*BATCHES, len(test)):
        print(f"  {'false alarms, stored profile':36} {alarms(numbers, subject.stored, size, splits)}")
    for name, change in CHANGES.items():
        changed = subject.numbers(change(np.asarray(test)))
        for size in (*BATCHES, len(test)):
            print(f"  {name + ', found':36} {alarms(changed, subject.stored, size, splits)}")
        print(f"    {drift.compare(subject.stored, changed)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workspace", type=Path, required=True)
    parser.add_argument("--dataset", action="append", required=True)
    parser.add_argument("--splits", type=int, default=200)
    given = parser.parse_args()
    Workspace.open(given.workspace)
    for dataset in given.dataset:
        report(dataset, given.splits)


if __name__ == "__main__":
    main()
