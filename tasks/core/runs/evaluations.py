"""Appends an evaluation of a published version to the metrics tables.

`evaluations` has one row for it. Its rows in `classes`, `operating_points` and `predictions` have the split
"evaluated", so that nobody takes them for those of a run; they are written once for the same scores.
"""

from collections.abc import Mapping
from typing import Any

from tasks.core.evaluation import class_curves, evaluate, scores
from tasks.core.evaluation.published import against_run
from tasks.core.metrics.declared import declarations
from tasks.core.runs import record, tables, unfinished
from tasks.core.runs.columns.evaluation_columns import SPLIT
from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import Evaluation, ModelVersion
from tasks.core.workspace import Workspace


def append_evaluation(
    row: Mapping[str, Any],
    version: ModelVersion,
    images: EvaluationSet,
    evaluation: Evaluation,
    workspace: Workspace,
) -> None:
    """Write the rows of an evaluation, that of `evaluations` last.

    Args:
        row: Columns of `evaluations` with at least run_id; mappings become JSON.
        version: The version.
        images: The evaluated images.
        evaluation: The scores.
        workspace: The workspace with the metrics tables.
    """
    run_id, dataset = row["run_id"], version.dataset
    own_row = tables.as_row(dict(row) | _columns(version, images, evaluation))
    recorded = tables.read("evaluations", workspace, dataset, ["evaluation", "version"])
    if not (recorded["evaluation"].eq(evaluation.digest) & recorded["version"].eq(version.version)).any():
        parts = {
            "classes": evaluate.read_classes(evaluation),
            "operating_points": class_curves.read_points(evaluation),
            "predictions": record.split_predictions(evaluation, images, "test").assign(
                version=version.version
            ),
        }
        begun = f"{evaluation.digest}-{version.version}"
        with unfinished.completing(begun, run_id, workspace) as writer:
            for table, frame in parts.items():
                frame = frame.assign(split=SPLIT, evaluation=evaluation.digest)
                tables.append(table, dataset, writer, frame, workspace)
            tables.append("evaluations", dataset, run_id, own_row, workspace)
    else:
        tables.append("evaluations", dataset, run_id, own_row, workspace)


def _columns(version: ModelVersion, images: EvaluationSet, evaluation: Evaluation) -> dict[str, Any]:
    metrics = scores.read_metrics(evaluation)["test"]
    return {
        "evaluation": evaluation.digest,
        "version": version.version,
        "model_sha256": version.model_sha256,
        "tensors": images.digest,
        "source_images": images.source_images,
        "images": images.test,
        "groups": metrics.get("groups"),
        "unknown_images": sum(images.unknown.values()),
        "unknown_classes": images.unknown,
        "trained_images": images.trained,
        "val_images": images.chosen,
        "unusable_images": images.quarantined,
        "own_test_images": images.own_test,
        "shared_group_images": images.shared_groups,
        "not_checked": images.not_checked or None,
        **declarations.row(metrics),
        "calibration_error": scores.read_calibration(evaluation)["ece"]["value"],
        "own_accuracy": (against_run.own_accuracy(version) or {}).get("value"),
    }
