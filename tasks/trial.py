"""Trial: one training of a sweep, in whatever process Prefect's task runner has put it."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks.core.config import TrainSettings
from tasks.core.model.devices import runtime
from tasks.core.model.training import train
from tasks.core.operations import environment
from tasks.core.stage.handles import Audit, Features, RawDataset, TensorCache, TrainedModel
from tasks.core.storage.workspaces import open_workspace
from tasks.orchestration import policies


@task(
    task_run_name="trial {number}: {label}",
    # A finished training is found before a trial is sent out; nothing is to be stored beside it.
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_condition_fn=policies.is_system_error,
)
def trial(
    number: int,
    label: str,
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit,
    features: Features | None,
    raw: RawDataset,
    workspace: str,
    cpus: int,
    refresh: bool = False,
) -> TrainedModel:
    """Train one trial of a sweep, in whatever process the task runner has put it.

    Args:
        number: The trial's number, from 1.
        label: Its parameters, for the task run's name.
        tensors: The images.
        settings: How to train.
        audit: Which images leak, for `drop_leaks`.
        features: Features of the images, for recipes that start from a backbone.
        raw: The source of the images, for the recipe `finetune`.
        workspace: The workspace's folder or address: a process of a cluster knows nothing of ours.
        cpus: Threads that TensorFlow takes; the same number everywhere gives the same model.
        refresh: Train again even if the model is there.
    """
    environment.prepare()
    with runtime.exclusive_training(cpus):
        return train.train(
            tensors,
            settings,
            open_workspace(workspace),
            audit=audit,
            features=features,
            raw=raw,
            refresh=refresh,
        )
