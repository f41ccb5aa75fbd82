"""Suspect: rank the images whose label is likely wrong."""

from prefect import task

from tasks.core.evaluation.label_issues import find_label_issues, ingredients
from tasks.core.stage.handles import Evaluation, LabelIssues, Predictions, TensorCache
from tasks.core.workspace import Workspace
from tasks.orchestration import policies


@task(
    task_run_name="label_issues {tensors.dataset}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("evaluation", "tensors", "folded")),
    result_serializer="json",
)
def label_issues(
    evaluation: Evaluation, tensors: TensorCache, folded: Predictions | None = None, refresh: bool = False
) -> LabelIssues:
    return find_label_issues(evaluation, tensors, folded, Workspace.active(), refresh=refresh)
