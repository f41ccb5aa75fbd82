"""Audit: duplicates within and across splits, class balance, outliers."""

from prefect import task

from tasks import live, policy
from tasks.core.data import audit as auditing
from tasks.core.handles import Audit, TensorCache
from tasks.core.workspace import Workspace


@task(
    task_run_name="audit {tensors.dataset}",
    cache_policy=policy.ByIngredients(ingredients=auditing.ingredients, names=("tensors",)),
    result_serializer="json",
)
def audit(tensors: TensorCache, refresh: bool = False) -> Audit:
    with live.live("audit") as progress:
        return auditing.audit(tensors, Workspace.active(), refresh=refresh, progress=progress)
