"""Evaluate: predict the val and test images, then score the predictions."""

from prefect import task

from tasks import live, policy
from tasks.core.handles import Evaluation, Model, TensorCache
from tasks.core.model import predictions
from tasks.core.results import evaluation
from tasks.core.stage import Ingredients
from tasks.core.workspace import Workspace


def ingredients(model: Model, tensors: TensorCache) -> Ingredients:
    """What decides the scores, before there are predictions."""
    return evaluation.ingredients_of_digest(predictions.ingredients(model, tensors).digest, tensors)


@task(
    task_run_name="evaluate {role}",
    cache_policy=policy.ByIngredients(ingredients=ingredients, names=("model", "tensors")),
    result_serializer="json",
)
def evaluate(
    model: Model, tensors: TensorCache, role: str = "challenger", refresh: bool = False
) -> Evaluation:
    workspace = Workspace.active()
    with live.live("evaluate") as progress:
        predicted = predictions.predict_splits(model, tensors, workspace, refresh=refresh, progress=progress)
    return evaluation.evaluate(predicted, tensors, workspace, refresh=refresh)
