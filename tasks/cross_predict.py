"""Cross-predict: predict each train image by a model that has not seen it."""

from prefect import task

from tasks.core.config import TrainSettings
from tasks.core.model.training import cross_predict as cross_predict_stage
from tasks.core.model.training.cross_predict import ingredients
from tasks.core.stage.handles import Features, Predictions, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="cross_predict {tensors.dataset}",
    cache_policy=policies.ByIngredients(
        ingredients=ingredients, names=("tensors", "settings", "folds", "features")
    ),
    result_serializer="json",
)
def cross_predict(
    tensors: TensorCache,
    settings: TrainSettings,
    folds: int,
    features: Features | None = None,
    refresh: bool = False,
) -> Predictions:
    """Predict each train image by a model that has not seen it.

    Args:
        tensors: The images.
        settings: How each model is trained.
        folds: Number of models, 2 to 20.
        features: Features of the images; with them a linear classifier is cross-validated, in seconds.
        refresh: Run again even if the output is there.
    """
    with task_progress("cross_predict") as progress:
        return cross_predict_stage.cross_predict(
            tensors, settings, folds, Workspace.active(), features, refresh=refresh, progress=progress
        )
