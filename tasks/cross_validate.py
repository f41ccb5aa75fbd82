"""Cross-validate: score recipes over all images, each predicted by a model that has not seen it."""

from prefect import task

from tasks.core.config import RecipeName, TrainSettings
from tasks.core.model.selection import cross_validate as cross_validate_stage
from tasks.core.model.selection.cross_validate import ingredients
from tasks.core.stage.handles import Audit, CrossValidation, Features, RawDataset, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="cross_validate {tensors.dataset}",
    cache_policy=policies.ByIngredients(
        ingredients=ingredients,
        names=("tensors", "settings", "recipes", "folds", "audit", "features", "chosen_before"),
    ),
    result_serializer="json",
)
def cross_validate(
    tensors: TensorCache,
    settings: TrainSettings,
    recipes: list[RecipeName],
    folds: int,
    audit: Audit,
    features: Features | None,
    raw: RawDataset,
    chosen_before: bool = False,
    refresh: bool = False,
) -> CrossValidation:
    """Score recipes over all images, each predicted by a model that has not seen it.

    Args:
        tensors: The images.
        settings: How to train.
        recipes: The recipes to score.
        folds: Number of folds, 2 to 20; each recipe is trained as often.
        audit: Which images are duplicates, and stay in one fold.
        features: Features of the images, for recipes that start from a backbone.
        raw: The source of the images.
        chosen_before: Whether the recipe was chosen on some of these images.
        refresh: Run again even if the output is there.
    """
    with task_progress("cross_validate") as progress:
        return cross_validate_stage.cross_validate(
            *(tensors, settings, recipes, folds, audit, features, raw, Workspace.active()),
            chosen_before=chosen_before,
            refresh=refresh,
            progress=progress,
        )
