"""Evaluate: predict the val and test images, then score the predictions."""

from prefect import task

from tasks import live, policy
from tasks.core.handles import Evaluation, Model, TensorCache
from tasks.core.model import predictions
from tasks.core.results import evaluation
from tasks.core.workspace import Workspace


@task(
    task_run_name="evaluate {role}",
    tags=["plumbline"],
    cache_policy=policy.ByIngredients(ingredients=evaluation.ingredients_of_model, names=("model", "tensors")),
    result_serializer="json",
)
def evaluate(
    model: Model, tensors: TensorCache, role: str = "challenger", refresh: bool = False
) -> Evaluation:
    workspace = Workspace.active()
    with live.live("evaluate") as progress:
        predicted = predictions.predict_splits(model, tensors, workspace, refresh=refresh, progress=progress)
    return evaluation.evaluate(predicted, tensors, workspace, refresh=refresh)
