"""How often the 95 % intervals of an evaluation hold the true value, by number of test images.

python benchmarks/interval_coverage.py [--probabilities FILE --labels FILE] [--draws 1000] [--images 50 200]

Test sets are drawn with replacement from a population, so that its figures are the true ones. The population
is either the test predictions of a finished run (`predictions/*/test.probabilities.npy` and
`tensors/*/test.labels.npy` in the workspace) or 200,000 simulated images in 10 classes. "calibrated" draws
whether each prediction is correct from the model's own confidence: the true calibration error is 0.
"before" has the intervals of version 0.1: Wilson's, the percentile bootstrap, and the reflected bootstrap of
the plain calibration error (here with 1,000 resamples, up to 2,000 images).
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tasks.core.metrics import calibration, calibration_error, classification, intervals
from tasks.core.metrics.declared import declarations

RESAMPLES, MOST_BEFORE = 1000, 2000
METRICS = (
    "accuracy",
    "top5_accuracy",
    "recall of a class",
    "precision of a class",
    "F1 of a class",
    "macro_f1",
    "balanced_accuracy",
    "log_loss",
    "brier",
    "ECE",
    "ECE, calibrated",
    "ECE, over-confident",
)
Ends = tuple[Any, Any]


class Population:
    """Labels, probabilities, and the true value of each metric."""

    def __init__(self, labels: NDArray[Any], probabilities: NDArray[Any]) -> None:
        self.labels, self.probabilities = labels.astype(np.int64), probabilities
        self.correct = probabilities.argmax(axis=1) == self.labels
        confidence = calibration.confidences(probabilities)
        hot = calibration.confidences(calibration.tempered(probabilities, 0.5))
        self.worlds = {  # confidence, and the probability that the prediction is correct
            "ECE": (confidence, self.correct.astype(float)),
            "ECE, calibrated": (confidence, confidence),
            "ECE, over-confident": (hot, self.correct.astype(float)),
        }
        matrix = classification.confusion(self.labels, probabilities.argmax(axis=1), probabilities.shape[1])
        self.truth: dict[str, Any] = {
            "accuracy": self.correct.mean(),
            "top5_accuracy": classification.in_top(self.labels, probabilities).mean(),
            "recall of a class": classification.recall_of(matrix),
            "precision of a class": classification.precision_of(matrix),
            "F1 of a class": classification.f1_of(matrix),
            "macro_f1": classification.f1_of(matrix).mean(),
            "balanced_accuracy": classification.recall_of(matrix).mean(),
            "log_loss": classification.log_losses(self.labels, probabilities).mean(),
            "brier": calibration.brier(self.labels, probabilities).value,
        } | {name: _plain_error(*world) for name, world in self.worlds.items()}


def _plain_error(confidence: NDArray[Any], chance: NDArray[Any]) -> float:
    parts = np.array_split(np.argsort(confidence, kind="stable"), calibration_error.BINS)
    return float(sum(abs((chance[part] - confidence[part]).sum()) for part in parts) / len(confidence))


def simulated(images: int = 200_000, classes: int = 10) -> Population:
    """A population whose labels are drawn from the probabilities at temperature 1.25."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(images, classes)) * 3
    truth = softmax(logits / 1.25, axis=1)
    labels = (truth.cumsum(axis=1) > generator.random((images, 1))).argmax(axis=1)
    return Population(labels, softmax(logits, axis=1).astype(np.float32))


def after(population: Population, rows: NDArray[Any], chances: NDArray[Any]) -> Iterator[tuple[str, Ends]]:
    """The intervals of one test set as an evaluation gives them."""
    labels, probabilities = population.labels[rows], population.probabilities[rows]
    for name, estimate in declarations.score(labels, probabilities).items():
        yield name, (estimate.low, estimate.high)
    names = tuple(map(str, range(probabilities.shape[1])))
    table = classification.per_class(labels, probabilities.argmax(axis=1), names)
    for column in ("recall", "precision", "f1"):
        ends = table[f"{column}_low"].to_numpy(), table[f"{column}_high"].to_numpy()
        yield f"{column if column != 'f1' else 'F1'} of a class", ends
    brier = calibration.brier(labels, probabilities)
    yield "brier", (brier.low, brier.high)
    for name, (confidence, chance) in population.worlds.items():
        estimate = calibration.expected_error(chances < chance[rows], confidence[rows]).estimate
        yield name, (estimate.low, estimate.high)


def before(population: Population, rows: NDArray[Any], chances: NDArray[Any]) -> Iterator[tuple[str, Ends]]:
    """The intervals of one test set as version 0.1 computed them."""
    labels, probabilities = population.labels[rows], population.probabilities[rows]
    predicted, classes = probabilities.argmax(axis=1), probabilities.shape[1]
    matrix = classification.confusion(labels, predicted, classes)
    count = np.asarray(len(rows))
    yield "accuracy", intervals.wilson(np.trace(matrix), count)
    yield "top5_accuracy", intervals.wilson(classification.in_top(labels, probabilities).sum(), count)
    yield "recall of a class", intervals.wilson(np.diagonal(matrix), matrix.sum(axis=1))
    yield "precision of a class", intervals.wilson(np.diagonal(matrix), matrix.sum(axis=0))

    def statistic(tables: NDArray[np.int64]) -> NDArray[np.float64]:
        f1, recall = classification.f1_of(tables), classification.recall_of(tables)
        return np.column_stack([f1, np.nanmean(f1, axis=1), np.nanmean(recall, axis=1)])

    low, high = intervals.percentiles(intervals.bootstrap_table(matrix, statistic, RESAMPLES))
    yield "F1 of a class", (low[:classes], high[:classes])
    yield "macro_f1", (low[-2], high[-2])
    yield "balanced_accuracy", (low[-1], high[-1])
    hot = np.eye(classes)[labels]
    figures = [
        classification.log_losses(labels, probabilities),
        np.square(probabilities - hot).sum(axis=1),
    ]
    low, high = intervals.percentiles(intervals.bootstrap_means(np.column_stack(figures), RESAMPLES))
    yield from zip(("log_loss", "brier"), zip(low, high, strict=True), strict=True)
    for name, (confidence, chance) in population.worlds.items():
        yield name, _reflected((chances < chance[rows]) - confidence[rows], confidence[rows])


def _reflected(gaps: NDArray[Any], confidence: NDArray[Any]) -> Ends:
    parts = np.array_split(np.argsort(confidence, kind="stable"), calibration_error.BINS)
    in_bins = np.zeros((len(gaps), len(parts)))
    for number, part in enumerate(parts):
        in_bins[part, number] = gaps[part]
    counts = np.random.default_rng(intervals.SEED).multinomial(
        len(gaps), np.full(len(gaps), 1 / len(gaps)), RESAMPLES
    )
    low, high = intervals.percentiles(np.abs(counts @ in_bins).sum(axis=1) / len(gaps))
    plain = np.abs(in_bins.sum(axis=0)).sum() / len(gaps)
    return max(0.0, 2 * plain - float(high)), max(0.0, 2 * plain - float(low))


def coverage(population: Population, images: int, draws: int, measure: Any) -> dict[str, tuple[float, float]]:
    """Share of the intervals that hold the true value, and their mean width, by metric."""
    generator = np.random.default_rng(1)
    hits, widths = defaultdict(list), defaultdict(list)
    for _ in range(draws):
        rows, chances = generator.integers(0, len(population.labels), images), generator.random(images)
        for name, (low, high) in measure(population, rows, chances):
            low, high, truth = map(np.ravel, np.broadcast_arrays(low, high, population.truth[name]))
            defined = ~np.isnan(low)
            hits[name] += ((low <= truth + 1e-12) & (truth <= high + 1e-12))[defined].tolist()
            widths[name] += (high - low)[defined].tolist()
    return {name: (float(np.mean(hits[name])), float(np.mean(widths[name]))) for name in hits}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--probabilities", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--images", type=int, nargs="+", default=[50, 200, 500, 2000, 10_000])
    parser.add_argument("--without-before", action="store_true")
    given = parser.parse_args()
    population = (
        Population(np.load(given.labels), np.load(given.probabilities)) if given.labels else simulated()
    )
    columns = {}
    for images in given.images:
        if images <= MOST_BEFORE and not given.without_before:
            columns[f"{images} before"] = coverage(population, images, given.draws, before)
        columns[f"{images} after"] = coverage(population, images, given.draws, after)
    print("| metric | true | " + " | ".join(columns) + " |")
    print("|---|---" * 1 + "|---" * len(columns) + "|")
    for name in METRICS:
        cells = [f"{100 * part[name][0]:.1f} ({part[name][1]:.3f})" for part in columns.values()]
        truth = population.truth[name]
        print(f"| {name} | {'' if np.ndim(truth) else f'{truth:.3f}'} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
