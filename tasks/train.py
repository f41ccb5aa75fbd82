"""Train: from the tensor cache to a model, resuming from a checkpoint if there is one."""

from prefect import task
from prefect.tasks import exponential_backoff

from tasks.core.config import TrainSettings
from tasks.core.model.training import train as train_stage
from tasks.core.model.training.train import ingredients
from tasks.core.stage.handles import Audit, Features, RawDataset, TensorCache, TrainedModel
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="train {tensors.dataset} with {settings.recipe}",
    cache_policy=policies.ByIngredients(
        ingredients=ingredients, names=("tensors", "settings", "audit", "features")
    ),
    result_serializer="json",
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_condition_fn=policies.is_system_error,
)
def train(
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit,
    features: Features | None = None,
    raw: RawDataset | None = None,
    refresh: bool = False,
) -> TrainedModel:
    """Train a model, resuming from a checkpoint of the same training if there is one.

    Args:
        tensors: The images.
        settings: How to train.
        audit: Which images leak, for `drop_leaks`.
        features: Features of the images, for recipes that start from a backbone.
        raw: The source of the images, for the recipe `finetune`.
        refresh: Train again even if the model is there.
    """
    with task_progress("train") as progress:
        return train_stage.train(
            tensors,
            settings,
            Workspace.active(),
            audit=audit,
            features=features,
            raw=raw,
            refresh=refresh,
            progress=progress,
        )
