"""Export: the model in other formats, each file certified on the test images."""

from prefect import task

from tasks import live, policy
from tasks.core.config import ExportName
from tasks.core.handles import Exports, Model, TensorCache
from tasks.core.model import exports
from tasks.core.workspace import Workspace


@task(
    task_run_name="export {tensors.dataset}",
    cache_policy=policy.ByIngredients(ingredients=exports.ingredients, names=("model", "tensors", "formats")),
    result_serializer="json",
)
def export(
    model: Model, tensors: TensorCache, formats: tuple[ExportName, ...], refresh: bool = False
) -> Exports:
    with live.live("export") as progress:
        return exports.export(model, tensors, formats, Workspace.active(), refresh=refresh, progress=progress)
