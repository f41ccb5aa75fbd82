"""Audit: duplicates within and across splits, class balance, outliers."""

from prefect import task

from tasks.core.data.audit import audit as audit_stage
from tasks.core.data.audit.audit import ingredients
from tasks.core.stage.handles import Audit, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="audit {tensors.dataset}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("tensors",)),
    result_serializer="json",
)
def audit(tensors: TensorCache, refresh: bool = False) -> Audit:
    """Look for duplicates within and across splits, uneven classes and outliers.

    Args:
        tensors: The images.
        refresh: Run again even if the output is there.
    """
    with task_progress("audit") as progress:
        return audit_stage.audit(tensors, Workspace.active(), refresh=refresh, progress=progress)
