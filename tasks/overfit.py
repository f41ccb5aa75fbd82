"""Overfit: a check before a long training, whether the recipe learns one batch of the images by heart."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.core.config import TrainSettings
from tasks.core.handles import TensorCache
from tasks.core.model import sanity
from tasks.core.model.sanity import Sanity


@task(
    task_run_name="overfit a batch of {tensors.dataset} with {settings.recipe}",
    # Never cached: a check that was asked for is made.
    cache_policy=NO_CACHE,
    persist_result=False,
)
def overfit(tensors: TensorCache, settings: TrainSettings, refresh: bool = False) -> Sanity:
    return sanity.overfit_batch(tensors, settings)
