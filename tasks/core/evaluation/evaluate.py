"""The evaluate stage: computes the scores of predictions and writes them; the model is not needed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.data.tensors import groups
from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import DataError
from tasks.core.evaluation import class_curves, decision, scores
from tasks.core.evaluation.decision import ChosenPoint, DecisionRequest
from tasks.core.evaluation.slices import slice_table, values
from tasks.core.metrics import calibration, classification
from tasks.core.metrics.comparison import baseline, detectable
from tasks.core.metrics.declared import declarations
from tasks.core.metrics.thresholds.operating_point import OperatingPoint
from tasks.core.stage.handles import Evaluation, Predictions, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import EVALUATE
from tasks.core.workspace import Workspace

SPLITS = ("test", "val")
CLASSES = "classes.parquet"
CONFUSION = "confusion.npy"


@dataclass(frozen=True)
class Scored:
    """Labels and probabilities of a split, in the row order of the tensors.

    Args:
        labels: int32 (N,), 0..C-1.
        probabilities: float32 (N, C), 0..1.
        groups: int64 (N,), 0..G-1, which images belong together; None if each is by itself.
        operating_point: How they become decisions; None for the most probable class.
    """

    labels: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    groups: NDArray[np.int64] | None = None
    operating_point: OperatingPoint | None = None

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted classes, int64 (N,), 0..C-1."""
        if self.operating_point is not None:
            return self.operating_point.decide(self.probabilities)
        return self.most_probable

    @cached_property
    def most_probable(self) -> NDArray[np.int64]:
        """The most probable classes, int64 (N,), 0..C-1."""
        return classification.predicted_classes(self.probabilities)

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """The probability of the predicted class, float32 (N,)."""
        return np.asarray(self.probabilities[np.arange(len(self.labels)), self.predicted])


def ingredients(
    predictions: Predictions, tensors: TensorCache, request: DecisionRequest | None = None
) -> Ingredients:
    """What decides the evaluation: the predictions, the tensors, and what is asked of the decision."""
    return ingredients_of_digest(predictions.digest, tensors, request)


def ingredients_of_digest(
    predictions: str, tensors: TensorCache, request: DecisionRequest | None = None
) -> Ingredients:
    """The ingredients of an evaluation whose predictions do not exist yet.

    Args:
        predictions: The digest that the predictions will have.
        tensors: The tensors with the labels.
        request: What is asked of the decision; None for nothing.
    """
    asked = request.record() if request else {}
    return EVALUATE.ingredients({"predictions": predictions, "tensors": tensors.digest}, asked)


def evaluate(
    predictions: Predictions,
    tensors: TensorCache,
    workspace: Workspace,
    request: DecisionRequest | None = None,
    *,
    refresh: bool = False,
) -> Evaluation:
    """Score the predictions of the val and test images.

    Writes `metrics.json`, `classes.parquet`, `calibration.json`, the `confusion.npy` of the test images, the
    files of `class_curves.write`, and `slices.parquet` if the data have other columns. Whatever follows from
    decisions is that of the operating point.

    Args:
        predictions: The probabilities of both splits.
        tensors: The tensors with the labels.
        workspace: Where the evaluation is published.
        request: What is asked of the decision; None for nothing.
        refresh: Whether to compute an existing evaluation again.

    Raises:
        DataError: The predictions are of other tensors, or cannot be scored.
    """
    return EVALUATE.output(
        ingredients(predictions, tensors, request),
        workspace,
        lambda staging: _write(staging, predictions, tensors, request or DecisionRequest()),
        refresh=refresh,
    )


def read_scored(predictions: Predictions, tensors: TensorCache, split: str) -> Scored:
    """The labels and probabilities of one split; the probabilities are memory-mapped.

    Raises:
        DataError: The predictions are of other tensors.
    """
    return _scored(predictions.directory, predictions.tensors, tensors, split)


def scored_of(evaluation: Evaluation, tensors: TensorCache, split: str) -> Scored:
    """The labels and probabilities of one split that an evaluation was computed from, and its point."""
    directory = Workspace.active().root / evaluation.predictions
    scored = _scored(directory, evaluation.tensors, tensors, split)
    rule = (class_curves.read_point(evaluation) or {}).get("rule")
    return replace(scored, operating_point=OperatingPoint.of(rule)) if rule else scored


def accuracy_of(evaluation: Evaluation) -> str:
    """The test accuracy with its interval as text, see `accuracy_text`."""
    return accuracy_text(classification.Estimate(**scores.read_metrics(evaluation)["test"]["accuracy"]))


def read_classes(evaluation: Evaluation) -> pd.DataFrame:
    """The rows of `classification.per_class` for both splits, with a column `split`."""
    return pd.read_parquet(evaluation.directory / CLASSES)


def read_confusion(evaluation: Evaluation) -> NDArray[np.int64]:
    """The confusion matrix of the test images: counts of (label, predicted class), int64 (C, C)."""
    return np.asarray(np.load(evaluation.directory / CONFUSION, allow_pickle=False))


def _scored(directory: Path, tensors_digest: str, tensors: TensorCache, split: str) -> Scored:
    if tensors_digest != tensors.digest:
        raise DataError(
            "predictions and tensors don't belong together",
            expected=f"predictions of tensors {tensors.digest}",
            found=f"predictions of tensors {tensors_digest}",
        )
    mapped = np.load(Predictions.path_in(directory, split), mmap_mode="r", allow_pickle=False)
    probabilities = np.asarray(mapped)  # each slice of a `memmap` takes a microsecond more
    return Scored(open_split(tensors, split).labels, probabilities, groups.read_groups(tensors, split))


def _write(
    staging: Path, predictions: Predictions, tensors: TensorCache, request: DecisionRequest
) -> dict[str, Any]:
    classes = (*tensors.classes, *predictions.other_classes)
    splits = {split: read_scored(predictions, tensors, split) for split in SPLITS}
    for scored in splits.values():
        classification.check(scored.labels, scored.probabilities)
    val = splits["val"]
    chosen = decision.choose(request, val.labels, val.probabilities, tensors.classes)
    splits = {split: replace(scored, operating_point=chosen.point) for split, scored in splits.items()}
    estimates = {
        split: declarations.score(
            scored.labels, scored.probabilities, groups=scored.groups, predicted=scored.predicted
        )
        for split, scored in splits.items()
    }
    (staging / scores.METRICS).write_text(json.dumps(_metrics_record(splits, estimates, tensors), indent=1))
    areas = _write_curves(staging, splits["test"], tensors, request, chosen)
    class_table = _class_table(splits, classes).merge(areas, on=["split", "label"], how="left")
    class_table.to_parquet(staging / CLASSES, index=False)
    _write_slices(staging, splits["test"], tensors, classes)
    (staging / scores.CALIBRATION).write_text(json.dumps(_calibration(splits["val"], splits["test"])))
    test = splits["test"]
    np.save(staging / CONFUSION, classification.confusion(test.labels, test.predicted, len(classes)))
    return {
        "predictions": predictions.path,
        "model_sha256": predictions.model_sha256,
        "tensors": tensors.digest,
        **{name: estimates["test"][name].value for name in ("accuracy", "macro_f1", "log_loss")},
        "images": len(test.labels),
    }


def _metrics_record(
    splits: Mapping[str, Scored],
    estimates: Mapping[str, Mapping[str, classification.Estimate]],
    tensors: TensorCache,
) -> dict[str, dict[str, Any]]:
    """What `metrics.json` says of each split."""
    baselines = _baseline_record(splits, tensors)
    record = {
        split: split_record(scored, estimates[split]) | baselines[split] for split, scored in splits.items()
    }
    record["test"]["detectable"] = detectable_record(splits["test"])
    return record


def split_record(scored: Scored, estimates: Mapping[str, classification.Estimate]) -> dict[str, Any]:
    """The number of images, of groups if they have any, and every metric with its interval; JSON values."""
    counts = {"images": len(scored.labels)}
    if scored.groups is not None:
        counts["groups"] = len(np.unique(scored.groups))
    return counts | {name: estimate.record() for name, estimate in estimates.items()}


def detectable_record(scored: Scored) -> dict[str, Any]:
    """The difference in accuracy that these images can show, see `detectable`; JSON values."""
    return detectable.of_outcomes(scored.predicted == scored.labels, scored.groups).record()


def _class_table(splits: Mapping[str, Scored], classes: tuple[str, ...]) -> pd.DataFrame:
    tables = [
        classification.per_class(scored.labels, scored.predicted, classes, scored.groups).assign(split=split)
        for split, scored in splits.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _write_slices(staging: Path, test: Scored, tensors: TensorCache, classes: tuple[str, ...]) -> None:
    if attributes := values.attributes(tensors):
        outcomes = test.predicted == test.labels
        table = slice_table.slice_table(outcomes, test.labels, test.groups, attributes, classes)
        slice_table.write(staging, table)


def _calibration(val: Scored, test: Scored) -> dict[str, Any]:
    return calibration.calibrate(
        *(val.labels, val.probabilities, test.labels, test.probabilities, val.groups, test.groups),
        most_probable=(val.most_probable, test.most_probable),
    )


def _baseline_record(splits: Mapping[str, Scored], tensors: TensorCache) -> dict[str, dict[str, Any]]:
    """By split, what needs no model scores on it; for test also the comparison, see `baseline`."""
    classes = next(iter(splits.values())).probabilities.shape[1]
    counts = np.bincount(open_split(tensors, "train").labels, minlength=classes)
    record: dict[str, dict[str, Any]] = {
        split: {
            name: estimate.record()
            for name, estimate in baseline.baselines(scored.labels, counts, scored.groups).items()
        }
        for split, scored in splits.items()
    }
    test, names = splits["test"], tensors.classes  # a train image has one of these
    record["test"]["baseline"] = baseline.compare(
        test.labels, test.probabilities, counts, names, test.groups, most_probable=test.most_probable
    )
    return record


def _write_curves(
    staging: Path, test: Scored, tensors: TensorCache, request: DecisionRequest, chosen: ChosenPoint
) -> pd.DataFrame:
    """Write the curves and the rates of the test images; returns the areas, see `class_columns`."""
    positive = request.positive_label(tensors.classes, open_split(tensors, "train").labels)
    arrays = test.labels, test.probabilities
    record = class_curves.class_curves(*arrays, tensors.classes, request, positive)
    table = class_curves.rates_table(*arrays, chosen.point, record, request, test.most_probable)
    asked = chosen.record() if request.promises or request.costs else None
    class_curves.write(staging, record, table, asked)
    return class_curves.class_columns(record)


def accuracy_text(rate: classification.Estimate) -> str:
    """A rate with its interval in per cent.

    >>> accuracy_text(classification.Estimate(0.7012, 0.6921, 0.7101, "wilson"))
    '70.12 % (95 % interval 69.21 to 71.01)'
    """
    return f"{shares.percent(rate.value)} (95 % interval {shares.interval(rate.low, rate.high)})"
