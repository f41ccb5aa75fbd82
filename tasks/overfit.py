"""Overfit: a check before a long training that the recipe overfits one batch."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.core.config import TrainSettings
from tasks.core.model.selection import candidates
from tasks.core.model.training import overfit_check
from tasks.core.model.training.overfit_check import OverfitResult
from tasks.core.stage.handles import TensorCache


@task(
    task_run_name="overfit a batch of {tensors.dataset} with {settings.recipe}",
    # Never cached: a check that was asked for is made.
    cache_policy=NO_CACHE,
    persist_result=False,
)
def overfit(tensors: TensorCache, settings: TrainSettings, refresh: bool = False) -> OverfitResult:
    """Check that the recipe overfits one batch of the train images.

    Args:
        tensors: The images.
        settings: How to train.
        refresh: Ignored: the check is never reused.
    """
    return overfit_check.overfit_batch(tensors, candidates.without_auto(settings))
