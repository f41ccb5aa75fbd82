"""Audit by features: pairs that show the same scene, leaks, and images unlike their class."""

from prefect import task

from tasks.core.model.features import feature_audit as feature_audit_stage
from tasks.core.model.features.feature_audit import ingredients
from tasks.core.stage.handles import Audit, FeatureAudit, Features, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="feature_audit {tensors.dataset}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("tensors", "audit", "features")),
    result_serializer="json",
)
def feature_audit(
    tensors: TensorCache, audit: Audit, features: Features, refresh: bool = False
) -> FeatureAudit:
    """Look by features for images of one scene within and across splits, and for outliers of a class.

    Args:
        tensors: The images.
        audit: Their audit.
        features: Their features.
        refresh: Run again even if the output is there.
    """
    with task_progress("feature-audit") as progress:
        return feature_audit_stage.feature_audit(
            tensors, audit, features, Workspace.active(), refresh=refresh, progress=progress
        )
