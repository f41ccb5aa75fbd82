"""Train on all: one model of all images, whose score is that of the cross-validation."""

from prefect import task

from tasks.core.config import TrainSettings
from tasks.core.model.selection import final_model
from tasks.core.model.selection.final_model import ingredients
from tasks.core.stage.handles import Audit, Features, FinalModel, RawDataset, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="train {settings.recipe} on all images",
    cache_policy=policies.ByIngredients(
        ingredients=ingredients, names=("tensors", "settings", "audit", "features")
    ),
    result_serializer="json",
)
def train_on_all(
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit,
    features: Features | None,
    raw: RawDataset,
    refresh: bool = False,
) -> FinalModel:
    """Train one model on all images, those of the test set too.

    Args:
        tensors: The images.
        settings: How to train.
        audit: Which images are duplicates.
        features: Features of the images, for recipes that start from a backbone.
        raw: The source of the images.
        refresh: Run again even if the output is there.
    """
    with task_progress("train_on_all") as progress:
        return final_model.train_on_all(
            tensors, settings, audit, features, raw, Workspace.active(), refresh=refresh, progress=progress
        )
