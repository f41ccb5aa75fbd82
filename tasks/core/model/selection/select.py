"""The select stage: compares recipes on images that none of them has seen, and takes the best.

A fifth of the train images is held out. The candidates that are trained step by step are trained on the
others; the probe is cross-validated, so that it has not seen them either. All are scored on the held-out
train images and the val images, the same for all; `choice` says which is the best. The test images are not
touched. The output has `candidates.parquet`, one row per candidate.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.tensors.cache import open_split
from tasks.core.data.tensors.folds import train_members
from tasks.core.metrics import intervals
from tasks.core.model.devices import runtime
from tasks.core.model.selection import candidates as candidates_module
from tasks.core.model.selection import choice
from tasks.core.model.selection.candidate_table import TABLE
from tasks.core.model.selection.candidates import Candidate
from tasks.core.model.selection.choice import Probabilities
from tasks.core.model.training import train
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Audit, Features, RawDataset, Selection, TensorCache, TrainedModel
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.publish import Stopwatch
from tasks.core.stage.stages import SELECT
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.train")


def ingredients(
    tensors: TensorCache, settings: TrainSettings, audit: Audit, features: Features
) -> Ingredients:
    """Everything that decides a selection: the trainings that are compared."""
    compared = candidates_module.compared(candidates_module.plan(settings, tensors))
    inputs = {"tensors": tensors.digest, "features": features.digest}
    for recipe in compared:
        each = replace(settings, recipe=recipe)
        held_out = recipe is not RecipeName.probe
        inputs[str(recipe)] = train.ingredients(tensors, each, audit, features, held_out=held_out).digest
    return SELECT.ingredients(inputs, {"candidates": [str(recipe) for recipe in compared]})


def select(
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit,
    features: Features,
    raw: RawDataset,
    workspace: Workspace,
    *,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> Selection:
    """Compare the candidates that the budget allows.

    Args:
        tensors: The images.
        settings: How to train; its `budget` bounds the comparison.
        audit: Which images leak, for `drop_leaks`.
        features: Features of the images.
        raw: The source of the images.
        workspace: Where the output is written.
        refresh: Whether to compare again if the output exists; finished trainings are reused.
        progress: Called with candidates done.

    Returns:
        Handle with the chosen recipe.
    """

    def build(staging: Path) -> Mapping[str, Any]:
        planned = candidates_module.plan(settings, tensors)
        labels = _labels(tensors)
        rows, correct = [], {}
        for number, candidate in enumerate(planned):
            progress(number, len(planned), str(candidate.recipe))
            each = replace(settings, recipe=candidate.recipe)
            with Stopwatch() as stopwatch:
                scored = (
                    _probabilities(each, tensors, audit, features, raw, workspace)
                    if candidate.state == candidates_module.COMPARED
                    else None
                )
            rows.append(_row(candidate, scored, labels, stopwatch.cost))
            if scored is not None:
                correct[str(candidate.recipe)] = scored.argmax(axis=1) == labels
            log.info("  %s", _text(rows[-1]))
        name = choice.best(correct, {row["recipe"]: row["log_loss"] for row in rows})
        (chosen,) = (row for row in rows if row["recipe"] == name)
        table = pd.DataFrame(rows).assign(chosen=[row["recipe"] == name for row in rows])
        table.to_parquet(staging / TABLE, index=False)
        return {
            **{name: chosen[name] for name in ("recipe", "accuracy", "low", "high")},
            "images": len(labels),
        }

    return SELECT.output(ingredients(tensors, settings, audit, features), workspace, build, refresh=refresh)


def _labels(tensors: TensorCache) -> NDArray[np.int32]:
    """Labels of the held-out train images and then of the val images, int32 (n,)."""
    held_out = train_members(tensors, 0, train.HELD_OUT_FOLDS)
    train_labels, val_labels = (open_split(tensors, split).labels for split in ("train", "val"))
    return np.concatenate([train_labels[held_out], val_labels])


def _probabilities(
    settings: TrainSettings,
    tensors: TensorCache,
    audit: Audit,
    features: Features,
    raw: RawDataset,
    workspace: Workspace,
) -> Probabilities:
    """What a candidate predicts for the images of `_labels`, float32 (n, classes)."""
    if settings.recipe is RecipeName.probe:
        with runtime.quiet_tensorflow():
            from tasks.core.model.transfer import probe

        held_out = train_members(tensors, 0, train.HELD_OUT_FOLDS)
        return probe.held_out_probabilities(features, tensors, held_out)
    trained = train.train(
        tensors, settings, workspace, audit=audit, features=features, raw=raw, held_out=True
    )
    return np.asarray(np.load(trained.directory / TrainedModel.HELD_OUT, allow_pickle=False))


def _row(
    candidate: Candidate,
    probabilities: Probabilities | None,
    labels: NDArray[np.int32],
    cost: Mapping[str, float],
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "recipe": str(candidate.recipe),
        "state": candidate.state,
        **dict.fromkeys(("accuracy", "low", "high", "log_loss", "cpu_seconds", "wall_seconds")),
        "images": len(labels),
        "estimated_minutes": candidate.minutes,
    }
    if probabilities is None:
        return row
    correct = int((probabilities.argmax(axis=1) == labels).sum())
    low, high = (float(bound) for bound in intervals.wilson(np.array(correct), np.array(len(labels))))
    losses = choice.log_losses(probabilities, labels)
    measured = {name: cost[name] for name in ("cpu_seconds", "wall_seconds")}
    scores = {"accuracy": correct / len(labels), "low": low, "high": high, "log_loss": float(losses.mean())}
    return row | scores | measured


def _text(row: Mapping[str, Any]) -> str:
    if row["state"] == candidates_module.TOO_FEW:
        seen = shares.said(row["images"], "unseen image", "unseen images")
        return f"{row['recipe']:<9} not compared: on {seen} no difference could be proven"
    if row["state"] != candidates_module.COMPARED:
        minutes = row["estimated_minutes"]
        return f"{row['recipe']:<9} not compared: it needs about {minutes:.0f} min, see --budget"
    seconds = f"{row['cpu_seconds']:.0f} CPU-s"
    accuracy = f"{shares.percent(row['accuracy'])} ({shares.interval(row['low'], row['high'])})"
    return f"{row['recipe']:<9} {accuracy} of {shares.counted(row['images'], 'unseen image')}, {seconds}"
