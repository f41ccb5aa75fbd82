"""Appends the rows of a run to the metrics tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tasks.core.data.files.columns import GROUP
from tasks.core.data.tensors.cache import read_rows
from tasks.core.evaluation import class_curves, evaluate, scores
from tasks.core.evaluation.slices.slice_table import read_slices
from tasks.core.metrics import classification
from tasks.core.metrics.declared import declarations
from tasks.core.runs import tables, unfinished
from tasks.core.stage.handles import Evaluation, TensorCache, TrainedModel
from tasks.core.workspace import Workspace


def append_run(
    row: Mapping[str, Any],
    tensors: TensorCache,
    trained: TrainedModel,
    evaluation: Evaluation,
    workspace: Workspace,
    candidates: pd.DataFrame | None = None,
    leaderboard: pd.DataFrame | None = None,
) -> None:
    """Write a run's row of `runs`, and its parts of the other tables if no earlier run has written them.

    The row of `runs` is written last: if `runs` has a row of an evaluation, the other tables have its rows
    too.

    Args:
        row: Columns of `runs` with at least run_id, recipe and version; mappings become JSON.
        tensors: The tensors of the run.
        trained: The model of the run.
        evaluation: The model's evaluation.
        workspace: The workspace with the metrics tables.
        candidates: Columns of `candidates`, of the comparison of recipes; None if the recipe was given.
        leaderboard: Columns of `leaderboard`, of the cross-validation; None if there was none.
    """
    run_id, dataset = row["run_id"], tensors.dataset
    runs_row = _runs_row(row, tensors, trained, evaluation)
    if leaderboard is not None and not _is_recorded(leaderboard, dataset, workspace):
        frame = leaderboard.assign(evaluation=evaluation.digest)
        tables.append("leaderboard", dataset, run_id, frame, workspace)
    recorded = tables.read("runs", workspace, dataset, ["evaluation"])["evaluation"]
    if evaluation.digest not in set(recorded):
        parts = {
            "epochs": history(trained).assign(training=trained.digest),
            "classes": evaluate.read_classes(evaluation),
            "operating_points": class_curves.read_points(evaluation),
            "predictions": predictions(evaluation, tensors).assign(version=row["version"]),
        }
        parts |= {} if candidates is None else {"candidates": candidates}
        parts |= {"slices": found} if len(found := read_slices(evaluation)) else {}
        with unfinished.completing(evaluation.digest, run_id, workspace) as writer:
            for table, frame in parts.items():
                tables.append(table, dataset, writer, frame.assign(evaluation=evaluation.digest), workspace)
            tables.append("runs", dataset, run_id, runs_row, workspace)
    else:
        tables.append("runs", dataset, run_id, runs_row, workspace)


def _is_recorded(leaderboard: pd.DataFrame, dataset: str, workspace: Workspace) -> bool:
    recorded = tables.read("leaderboard", workspace, dataset, ["cross_validation"])["cross_validation"]
    return bool(leaderboard["cross_validation"].isin(recorded).all())


def append_trials(
    trials: pd.DataFrame, models: Mapping[int, TrainedModel], dataset: str, sweep: str, workspace: Workspace
) -> None:
    """Write a sweep's part of `trials`, and the epochs of the trials that no earlier sweep has recorded.

    Args:
        trials: As `ranking.trials_table` returns them.
        models: The trained models, by trial number.
        dataset: Name of the dataset.
        sweep: The id of the sweep; the epochs of trial 3 get the run id <sweep>-t3.
        workspace: The workspace with the metrics tables.
    """
    recorded = set(tables.read("epochs", workspace, dataset, ["training"])["training"])
    for number, trained in models.items():
        if trained.digest not in recorded:
            frame = history(trained).assign(training=trained.digest, sweep=sweep)
            tables.append("epochs", dataset, f"{sweep}-t{number}", frame, workspace)
    tables.append("trials", dataset, sweep, trials, workspace)


def history(trained: TrainedModel) -> pd.DataFrame:
    """The history of a training, one row per epoch, with columns of the table `epochs`."""
    return pd.read_parquet(trained.directory / TrainedModel.HISTORY)


def predictions(evaluation: Evaluation, tensors: TensorCache) -> pd.DataFrame:
    """One row per val and test image, with columns of the table `predictions`."""
    return pd.concat(
        [split_predictions(evaluation, tensors, split) for split in evaluate.SPLITS], ignore_index=True
    )


def split_predictions(evaluation: Evaluation, tensors: TensorCache, split: str) -> pd.DataFrame:
    """One row per image of a split, with columns of the table `predictions`."""
    scored = evaluate.scored_of(evaluation, tensors, split)
    group = [GROUP] if tensors.groups else []
    images = read_rows(tensors, ["row", "image_id", "path", *group], split).to_pandas()
    names = np.array(tensors.classes)
    return pd.DataFrame(
        {
            "split": split,
            "row": images["row"].to_numpy(),
            "image_id": images["image_id"].to_numpy(),
            "path": images["path"].to_numpy(),
            "label": scored.labels,
            "class_name": names[scored.labels],
            "predicted_label": scored.predicted,
            "predicted_class_name": names[scored.predicted],
            "probability": scored.confidence,
            "probabilities": list(np.asarray(scored.probabilities)),
            "loss": classification.log_losses(scored.labels, scored.probabilities),
            "margin": classification.margins(scored.labels, scored.probabilities),
            "group": images.get(GROUP),
        }
    )


def _runs_row(
    row: Mapping[str, Any], tensors: TensorCache, trained: TrainedModel, evaluation: Evaluation
) -> pd.DataFrame:
    made_on = trained.manifest["facts"]
    columns = dict(row) | {
        "evaluation": evaluation.digest,
        "tensors": tensors.digest,
        "training": trained.digest,
        "test_images": evaluation.images,
        **declarations.row(scores.read_metrics(evaluation)["test"], "test_"),
        "precision": trained.precision,
        "threads": made_on.get("threads"),
        "processor": made_on.get("processor"),
    }
    return tables.as_row(columns)
