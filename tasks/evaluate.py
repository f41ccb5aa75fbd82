"""Evaluate: predict the val and test images, then score the predictions."""

from prefect import task

from tasks.core.evaluation import evaluate as evaluate_stage
from tasks.core.evaluation.decision import DecisionRequest
from tasks.core.evaluation.evaluate import ingredients_of_digest
from tasks.core.model.inference import predict_splits
from tasks.core.stage.handles import Evaluation, Model, RawDataset, TensorCache
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


def ingredients(
    model: Model, tensors: TensorCache, raw: RawDataset, decision: DecisionRequest | None = None
) -> Ingredients:
    """What decides the scores, before there are predictions."""
    predictions = predict_splits.ingredients(model, tensors, raw).digest
    return ingredients_of_digest(predictions, tensors, decision)


@task(
    task_run_name="evaluate {role}",
    cache_policy=policies.ByIngredients(
        ingredients=ingredients, names=("model", "tensors", "raw", "decision")
    ),
    result_serializer="json",
)
def evaluate(
    model: Model,
    tensors: TensorCache,
    raw: RawDataset,
    decision: DecisionRequest | None = None,
    role: str = "challenger",
    refresh: bool = False,
) -> Evaluation:
    """Predict the val and test images, then score the predictions.

    Args:
        model: The model: the run's own, or the champion.
        tensors: The images.
        raw: Their source, for a model that takes images of another size.
        decision: What is asked of the decision: promises, costs, the positive class.
        role: "challenger" or "champion"; part of the task run's name.
        refresh: Run again even if the output is there.
    """
    workspace = Workspace.active()
    with task_progress("evaluate") as progress:
        predicted = predict_splits.predict_splits(
            model, tensors, workspace, raw, refresh=refresh, progress=progress
        )
    return evaluate_stage.evaluate(predicted, tensors, workspace, decision, refresh=refresh)
