"""Suspect: rank the images whose label is likely wrong."""

from prefect import task

from tasks import policy
from tasks.core.handles import Evaluation, Predictions, Suspects, TensorCache
from tasks.core.results import suspects
from tasks.core.workspace import Workspace


@task(
    task_run_name="suspect {tensors.dataset}",
    cache_policy=policy.ByIngredients(
        ingredients=suspects.ingredients, names=("evaluation", "tensors", "folded")
    ),
    result_serializer="json",
)
def suspect(
    evaluation: Evaluation, tensors: TensorCache, folded: Predictions | None = None, refresh: bool = False
) -> Suspects:
    return suspects.find(evaluation, tensors, folded, Workspace.active(), refresh=refresh)
