"""Trial: one training of a sweep, in whatever process Prefect's task runner has put it."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks import policy
from tasks.core import environment
from tasks.core.config import TrainSettings
from tasks.core.handles import Audit, TensorCache, TrainedModel
from tasks.core.model import threads, training
from tasks.core.workspace import Workspace


@task(
    task_run_name="trial {number}: {label}",
    # A finished training is found before a trial is sent out; nothing is to be stored beside it.
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=exponential_backoff(backoff_factor=5),
    retry_condition_fn=policy.machine_fault,
)
def trial(
    number: int,
    label: str,
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit,
    workspace: str,
    cpus: int,
    refresh: bool = False,
) -> TrainedModel:
    environment.prepare()
    with threads.alone(cpus):
        return training.train(tensors, settings, Workspace.open(workspace), audit=audit, refresh=refresh)
