"""The evaluate stage: computes the scores of predictions and writes them; the model is not needed."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.data.tensors.cache import open_split
from tasks.core.errors import DataError
from tasks.core.evaluation import scores
from tasks.core.metrics import calibration, classification, detectable
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
    """

    labels: NDArray[np.int32]
    probabilities: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted classes, int64 (N,), 0..C-1."""
        return classification.predicted_classes(self.probabilities)


def ingredients(predictions: Predictions, tensors: TensorCache) -> Ingredients:
    """What decides the evaluation: the predictions and the tensors."""
    return ingredients_of_digest(predictions.digest, tensors)


def ingredients_of_digest(predictions: str, tensors: TensorCache) -> Ingredients:
    """The ingredients of an evaluation whose predictions do not exist yet.

    Args:
        predictions: The digest that the predictions will have.
        tensors: The tensors with the labels.
    """
    return EVALUATE.ingredients({"predictions": predictions, "tensors": tensors.digest}, {})


def evaluate(
    predictions: Predictions, tensors: TensorCache, workspace: Workspace, *, refresh: bool = False
) -> Evaluation:
    """Score the predictions of the val and test images.

    Writes `metrics.json`, `classes.parquet`, `calibration.json`, and the `confusion.npy` of the test images.

    Args:
        predictions: The probabilities of both splits.
        tensors: The tensors with the labels.
        workspace: Where the evaluation is published.
        refresh: Whether to compute an existing evaluation again.

    Raises:
        DataError: The predictions are of other tensors, or cannot be scored.
    """
    return EVALUATE.output(
        ingredients(predictions, tensors),
        workspace,
        lambda staging: _write(staging, predictions, tensors),
        refresh=refresh,
    )


def read_scored(predictions: Predictions, tensors: TensorCache, split: str) -> Scored:
    """The labels and probabilities of one split; the probabilities are memory-mapped.

    Raises:
        DataError: The predictions are of other tensors.
    """
    return _scored(predictions.directory, predictions.tensors, tensors, split)


def scored_of(evaluation: Evaluation, tensors: TensorCache, split: str) -> Scored:
    """The labels and probabilities of one split that an evaluation was computed from."""
    directory = Workspace.active().root / evaluation.predictions
    return _scored(directory, evaluation.tensors, tensors, split)


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
    probabilities = np.load(directory / f"{split}.probabilities.npy", mmap_mode="r", allow_pickle=False)
    return Scored(open_split(tensors, split).labels, probabilities)


def _write(staging: Path, predictions: Predictions, tensors: TensorCache) -> dict[str, Any]:
    splits = {split: read_scored(predictions, tensors, split) for split in SPLITS}
    estimates_of = {
        split: classification.score(scored.labels, scored.probabilities) for split, scored in splits.items()
    }
    record = {
        split: {"images": len(splits[split].labels)}
        | {name: estimate.record() for name, estimate in estimates.items()}
        for split, estimates in estimates_of.items()
    }
    outcomes = splits["test"].predicted == splits["test"].labels
    record["test"]["detectable"] = detectable.of_outcomes(outcomes).record()
    (staging / scores.METRICS).write_text(json.dumps(record, indent=1))
    class_tables = [
        classification.per_class(scored.labels, scored.predicted, tensors.classes).assign(split=split)
        for split, scored in splits.items()
    ]
    pd.concat(class_tables, ignore_index=True).to_parquet(staging / CLASSES, index=False)
    test, val = splits["test"], splits["val"]
    calibration_facts = calibration.calibrate(val.labels, val.probabilities, test.labels, test.probabilities)
    (staging / scores.CALIBRATION).write_text(json.dumps(calibration_facts))
    np.save(staging / CONFUSION, classification.confusion(test.labels, test.predicted, len(tensors.classes)))
    return {
        "predictions": predictions.path,
        "model_sha256": predictions.model_sha256,
        "tensors": tensors.digest,
        "accuracy": estimates_of["test"]["accuracy"].value,
        "macro_f1": estimates_of["test"]["macro_f1"].value,
        "log_loss": estimates_of["test"]["log_loss"].value,
        "images": len(test.labels),
    }


def accuracy_text(rate: classification.Estimate) -> str:
    """A rate with its interval in per cent.

    >>> accuracy_text(classification.Estimate(0.7012, 0.6921, 0.7101, "wilson"))
    '70.12 % (95 % interval 69.21 to 71.01)'
    """
    return f"{rate.value:.2%} (95 % interval {rate.low * 100:.2f} to {rate.high * 100:.2f})".replace(
        "%", " %", 1
    )
