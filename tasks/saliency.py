"""Activation maps: where in some test images the features lie that voted for a class."""

from prefect import task

from tasks.core.model.saliency import saliency as saliency_stage
from tasks.core.model.saliency.saliency import ingredients
from tasks.core.stage.handles import Model, RawDataset, TensorCache
from tasks.core.stage.saliency import Saliency
from tasks.core.workspace import Workspace
from tasks.orchestration import policies


@task(
    task_run_name="saliency {tensors.dataset}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("model", "tensors", "raw")),
    result_serializer="json",
)
def saliency(model: Model, tensors: TensorCache, raw: RawDataset, refresh: bool = False) -> Saliency:
    """Write class activation maps of mistakes, low margins and a few right test images.

    Args:
        model: The trained model.
        tensors: The images.
        raw: Their source, for a model that takes images of another size.
        refresh: Run again even if the output is there.
    """
    return saliency_stage.saliency(model, tensors, Workspace.active(), raw, refresh=refresh)
