"""The cross_validate stage: scores over all images, where a test set alone has too few to tell.

All images, train, val and test, are dealt into folds: stratified by class, groups and duplicates in one fold.
Each image is predicted by a model that has not seen it. The output has `leaderboard.parquet`, one row per
recipe, and `predictions.parquet`, one row per image and recipe.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core import shares
from tasks.core.config import RecipeName, TrainSettings
from tasks.core.data.cross_validation import assignment
from tasks.core.data.cross_validation import images as images_module
from tasks.core.data.cross_validation.images import AllImages
from tasks.core.model.selection import leaderboard
from tasks.core.model.selection.candidate_table import read_candidates
from tasks.core.model.selection.choice import Probabilities
from tasks.core.model.selection.leaderboard import AUTO, PREDICTIONS, TABLE
from tasks.core.model.selection.out_of_fold import FoldInputs, out_of_fold
from tasks.core.model.training import train
from tasks.core.progress import Progress, ignore_progress
from tasks.core.stage.handles import Audit, CrossValidation, Features, RawDataset, Selection, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.publish import Stopwatch
from tasks.core.stage.stages import CROSS_VALIDATE
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.train")

CHOSEN_BEFORE = (
    "the recipe was chosen on train and val images that are scored here, too: the figure is that of the"
    " chosen recipe, and slightly optimistic for the choice; --recipe auto --cross-validate scores the choice"
)
CHOSEN_INSIDE = (
    "in each fold the recipe was chosen by the images of the other folds; the models that predicted those"
    " have seen images of this fold, so that a little optimism may be left"
)


def check_images(asked: int | None, tensors: TensorCache, audit: Audit) -> None:
    """Refuse more folds than the images allow, before anything is trained.

    Raises:
        UsageError: A class has fewer images than there are folds, or there are fewer groups.
    """
    if asked:
        assignment.check(images_module.read(tensors, audit), asked, tensors.classes)


def folds_for(asked: int | None, recipe: RecipeName, tensors: TensorCache, audit: Audit) -> int | None:
    """How many folds a run has; None for no cross-validation.

    Args:
        asked: As the user has asked for: 0 for none, None without the option.
        recipe: A probe is cross-validated without being asked where the test set is small.
        tensors: The images.
        audit: Lists the duplicates.

    Raises:
        UsageError: The images allow fewer folds than were asked for.
    """
    if asked == 0:
        return None
    if asked is not None:
        check_images(asked, tensors, audit)
        return asked
    if recipe is not RecipeName.probe or tensors.test >= assignment.FEW_TEST_IMAGES:
        return None
    folds = assignment.default_folds(images_module.read(tensors, audit))
    if folds is None:
        log.info("  not cross-validated: a class has a single image, or all images are in one group")
    return folds


def recipes_to_score(
    asked: int | None, recipe: RecipeName, selected: Selection | None
) -> tuple[list[RecipeName], bool]:
    """The recipes, and whether the recipe was chosen on some of the images that are scored.

    Args:
        asked: Number of folds as the user has asked for; None without the option.
        recipe: The run's recipe.
        selected: The comparison that chose it; None if the user did.
    """
    if asked is None or selected is None:
        return [recipe], selected is not None
    table = read_candidates(selected)
    return [RecipeName(name) for name in table["recipe"][table["state"] == "compared"]], False


def ingredients(
    tensors: TensorCache,
    settings: TrainSettings,
    recipes: Sequence[RecipeName],
    folds: int,
    audit: Audit,
    features: Features | None,
    chosen_before: bool = False,
) -> Ingredients:
    """Everything that decides a cross-validation; see `cross_validate` for the arguments."""
    inputs = {"tensors": tensors.digest, "audit": audit.digest}
    for recipe in recipes:
        inputs[str(recipe)] = train.ingredients(tensors, _settings(settings, recipe), None, features).digest
    parameters = {"recipes": [str(recipe) for recipe in recipes], "folds": folds}
    modules = ("tasks.core.model.transfer.head",) if RecipeName.probe in recipes else ()
    return CROSS_VALIDATE.ingredients(inputs, parameters | {"chosen_before": chosen_before}, modules)


def cross_validate(
    tensors: TensorCache,
    settings: TrainSettings,
    recipes: Sequence[RecipeName],
    folds: int,
    audit: Audit,
    features: Features | None,
    raw: RawDataset,
    workspace: Workspace,
    *,
    chosen_before: bool = False,
    refresh: bool = False,
    progress: Progress = ignore_progress,
) -> CrossValidation:
    """Score recipes over all images, the same folds for all of them.

    Args:
        tensors: The images.
        settings: How to train; its recipe is not used.
        recipes: The recipes, one or more. Of several, the choice among them is scored.
        folds: Number of folds; each recipe is trained as often.
        audit: Lists the duplicates.
        features: Features of the images; needed by recipes that start from a backbone.
        raw: The source of the images.
        workspace: Where the output is written.
        chosen_before: Whether the recipe was chosen on some of these images; it is noted.
        refresh: Whether to score again if the output exists; finished trainings are reused.
        progress: Called with folds done.

    Raises:
        UsageError: The images allow fewer folds.
    """

    def build(staging: Path) -> Mapping[str, Any]:
        images = images_module.read(tensors, audit)
        assignment.check(images, folds, tensors.classes)
        inputs = FoldInputs(images, assignment.folds_of(images, folds), tensors, features, raw, workspace)
        predicted, costs = {}, {}
        for recipe in recipes:
            with Stopwatch() as stopwatch:
                predicted[str(recipe)] = out_of_fold(inputs, _settings(settings, recipe), progress)
            costs[str(recipe)] = stopwatch.cost
        table = _leaderboard(inputs, predicted, costs)
        table.to_parquet(staging / TABLE, index=False)
        _predictions(images, inputs.assigned, predicted, tensors.classes).to_parquet(
            staging / PREDICTIONS, index=False
        )
        final = leaderboard.choice_of(predicted, images.labels, np.ones(len(images), bool))
        notes = _notes(table, images, inputs.assigned, tensors.classes, chosen_before)
        return {**_scores(table), "folds": folds, "final_recipe": final, "notes": list(notes)}

    return CROSS_VALIDATE.output(
        ingredients(tensors, settings, recipes, folds, audit, features, chosen_before),
        workspace,
        build,
        refresh=refresh,
    )


def _settings(settings: TrainSettings, recipe: RecipeName) -> TrainSettings:
    return replace(settings, recipe=recipe, drop_leaks=False)


def _leaderboard(
    inputs: FoldInputs, predicted: Mapping[str, Probabilities], costs: Mapping[str, Mapping[str, float]]
) -> pd.DataFrame:
    labels, groups = inputs.images.labels, inputs.groups
    rows = [leaderboard.row(name, predicted[name], labels, groups, costs[name]) for name in predicted]
    for row in rows:
        row |= {"folds_chosen": None, "scored": len(rows) == 1}
        log.info("  %s", _text(row))
    rows.sort(key=lambda row: (-row["accuracy"], row["log_loss"]))
    if len(rows) > 1:
        chosen = leaderboard.choices(predicted, labels, inputs.assigned)
        for row in rows:
            row["folds_chosen"] = chosen.count(row["recipe"])
        whole = leaderboard.of_choices(predicted, inputs.assigned, chosen)
        sums = {name: sum(cost[name] for cost in costs.values()) for name in ("cpu_seconds", "wall_seconds")}
        auto = leaderboard.row(AUTO, whole, labels, groups, sums)
        rows.append(auto | {"folds_chosen": None, "scored": True})
    return pd.DataFrame(rows).assign(folds=int(inputs.assigned.max()) + 1)


def _scores(table: pd.DataFrame) -> dict[str, Any]:
    (scored,) = table[table["scored"]].to_dict("records")
    return {name: scored[name] for name in ("recipe", "accuracy", "low", "high", "images", "groups")}


def _notes(
    table: pd.DataFrame,
    images: AllImages,
    assigned: NDArray[np.int8],
    classes: tuple[str, ...],
    chosen_before: bool,
) -> tuple[str, ...]:
    notes = assignment.notes(images, assigned, classes)
    for note in notes:
        log.info("  %s", note)
    notes += (CHOSEN_BEFORE,) if chosen_before else ()
    return notes + ((CHOSEN_INSIDE,) if len(table) > 1 else ())


def _predictions(
    images: AllImages,
    assigned: NDArray[np.int8],
    predicted: Mapping[str, Probabilities],
    classes: tuple[str, ...],
) -> pd.DataFrame:
    names = np.array(classes)
    frame = images.table.to_pandas().assign(
        fold=assigned, group=images.groups, label=images.labels, class_name=names[images.labels]
    )
    parts = []
    for recipe, probabilities in predicted.items():
        best = probabilities.argmax(axis=1)
        part = frame.assign(recipe=recipe, predicted_label=best, predicted_class_name=names[best])
        parts.append(part.assign(probabilities=list(probabilities)))
    return pd.concat(parts, ignore_index=True)


def _text(row: Mapping[str, Any]) -> str:
    seconds = f"{row['cpu_seconds']:.0f} CPU-s"
    accuracy = f"{shares.percent(row['accuracy'])} ({shares.interval(row['low'], row['high'])})"
    return f"{row['recipe']:<9} {accuracy} of all {shares.counted(row['images'], 'image')}, {seconds}"
