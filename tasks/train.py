"""Train: from the tensor cache to a model, going on from a checkpoint where there is one."""

from prefect import task
from prefect.tasks import exponential_backoff

from tasks import live, policy
from tasks.core.config import TrainSettings
from tasks.core.handles import Audit, TensorCache, TrainedModel
from tasks.core.model import training
from tasks.core.workspace import Workspace


@task(
    task_run_name="train {tensors.dataset} with {settings.recipe}",
    cache_policy=policy.ByIngredients(
        ingredients=training.ingredients, names=("tensors", "settings", "audit")
    ),
    result_serializer="json",
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_condition_fn=policy.machine_fault,
)
def train(tensors: TensorCache, settings: TrainSettings, audit: Audit, refresh: bool = False) -> TrainedModel:
    with live.live("train") as progress:
        return training.train(
            tensors, settings, Workspace.active(), audit=audit, refresh=refresh, progress=progress
        )
