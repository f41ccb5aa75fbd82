"""Label issues: rank the images whose label is likely wrong."""

from prefect import task

from tasks.core.evaluation.label_issues import find_label_issues, ingredients
from tasks.core.stage.handles import Evaluation, LabelIssues, Predictions, TensorCache
from tasks.core.workspace import Workspace
from tasks.orchestration import policies


@task(
    task_run_name="label_issues {tensors.dataset}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("evaluation", "tensors", "crossed")),
    result_serializer="json",
)
def label_issues(
    evaluation: Evaluation, tensors: TensorCache, crossed: Predictions | None = None, refresh: bool = False
) -> LabelIssues:
    """Rank the images whose label is likely wrong, by confident learning.

    Args:
        evaluation: The scores of the run's model.
        tensors: The images.
        crossed: Cross-predictions of the train images; without them only val and test images are ranked.
        refresh: Run again even if the output is there.
    """
    return find_label_issues(evaluation, tensors, crossed, Workspace.active(), refresh=refresh)
