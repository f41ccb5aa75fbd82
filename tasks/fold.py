"""Fold: predict each train image by a model that has not seen it."""

from prefect import task

from tasks import live, policy
from tasks.core.config import TrainSettings
from tasks.core.handles import Predictions, TensorCache
from tasks.core.model import folding
from tasks.core.workspace import Workspace


@task(
    task_run_name="fold {tensors.dataset}",
    cache_policy=policy.ByIngredients(
        ingredients=folding.ingredients, names=("tensors", "settings", "folds")
    ),
    result_serializer="json",
)
def fold(tensors: TensorCache, settings: TrainSettings, folds: int, refresh: bool = False) -> Predictions:
    with live.live("fold") as progress:
        return folding.out_of_sample(
            tensors, settings, folds, Workspace.active(), refresh=refresh, progress=progress
        )
