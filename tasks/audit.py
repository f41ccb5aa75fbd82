"""Audit: duplicates within and across splits, class balance, outliers."""

from prefect import task

from tasks.core.data.audit import audit as audit_stage
from tasks.core.data.audit.audit import ingredients
from tasks.core.stage.handles import Audit, RawDataset, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="audit {tensors.dataset}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("tensors",)),
    result_serializer="json",
)
def audit(tensors: TensorCache, raw: RawDataset | None = None, refresh: bool = False) -> Audit:
    """Look for duplicates within and across splits, uneven classes, outliers and groups.

    Args:
        tensors: The images.
        raw: Their source, for the times of photos.
        refresh: Run again even if the output is there.
    """
    with task_progress("audit") as progress:
        return audit_stage.audit(tensors, Workspace.active(), raw, refresh=refresh, progress=progress)
