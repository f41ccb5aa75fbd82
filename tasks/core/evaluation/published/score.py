"""The score_version stage: scores a published version's probabilities of an evaluation set.

It writes the files of the evaluate stage, of the split "test" only: `metrics.json`, `classes.parquet`,
`confusion.npy`, `calibration.json`, `curves.json`, `operating_points.parquet`, `operating_point.json`. No
choice is made on these images: the operating point is that of the version.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks.core.evaluation import class_curves, evaluate, scores
from tasks.core.evaluation.evaluate import Scored, read_scored
from tasks.core.evaluation.published.question import Question
from tasks.core.metrics import calibration, classification
from tasks.core.metrics.declared import declarations
from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import Evaluation, Predictions
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import SCORE_VERSION
from tasks.core.workspace import Workspace

SPLIT = "test"


def ingredients(predictions: str, images: EvaluationSet, question: Question) -> Ingredients:
    """What decides the scores.

    Args:
        predictions: The digest of the predictions.
        images: The evaluation set.
        question: What is asked.
    """
    return SCORE_VERSION.ingredients(
        {"predictions": predictions, "tensors": images.digest}, question.record()
    )


def score(
    predictions: Predictions,
    images: EvaluationSet,
    workspace: Workspace,
    question: Question,
    *,
    refresh: bool = False,
) -> Evaluation:
    """Score the predictions, and write the files.

    Raises:
        DataError: The predictions are of other images, or cannot be scored.
    """
    return SCORE_VERSION.output(
        ingredients(predictions.digest, images, question),
        workspace,
        lambda staging: _write(staging, predictions, images, question),
        refresh=refresh,
    )


def _write(
    staging: Path, predictions: Predictions, images: EvaluationSet, question: Question
) -> dict[str, Any]:
    scored = replace(read_scored(predictions, images, SPLIT), operating_point=question.point)
    estimates = declarations.score(
        scored.labels, scored.probabilities, groups=scored.groups, predicted=scored.predicted
    )
    record = evaluate.split_record(scored, estimates) | {"detectable": evaluate.detectable_record(scored)}
    (staging / scores.METRICS).write_text(json.dumps({SPLIT: record}, indent=1))
    (staging / scores.CALIBRATION).write_text(json.dumps(_calibration(scored)))
    counts = classification.confusion(scored.labels, scored.predicted, len(images.classes))
    np.save(staging / evaluate.CONFUSION, counts)
    _write_classes(staging, scored, images, question)
    return {
        "predictions": predictions.path,
        "model_sha256": predictions.model_sha256,
        "tensors": images.digest,
        "accuracy": estimates["accuracy"].value,
        "macro_f1": estimates["macro_f1"].value,
        "log_loss": estimates["log_loss"].value,
        "images": len(scored.labels),
    }


def _write_classes(staging: Path, scored: Scored, images: EvaluationSet, question: Question) -> None:
    """Write the table of the classes, the curves and the rates."""
    positive = question.positive_label(images.classes, scored.labels)
    arrays = scored.labels, scored.probabilities
    record = class_curves.class_curves(*arrays, images.classes, question.request, positive)
    rates = class_curves.rates_table(*arrays, question.point, record, question.request)
    chosen = dict(question.chosen) if question.chosen else None
    class_curves.write(staging, record, rates, chosen)
    table = classification.per_class(scored.labels, scored.predicted, images.classes, scored.groups)
    areas = class_curves.class_columns(record)
    table = table.assign(split=SPLIT).merge(areas, on=["split", "label"], how="left")
    table.to_parquet(staging / evaluate.CLASSES, index=False)


def _calibration(scored: Scored) -> dict[str, Any]:
    """How true the probabilities are: nothing is fitted or chosen."""
    correct = classification.predicted_classes(scored.probabilities) == scored.labels
    confidence = calibration.confidences(scored.probabilities)
    return calibration.measure(scored.labels, scored.probabilities, correct, confidence, scored.groups)
