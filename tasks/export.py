"""Export: the model in other formats, each file verified on the test images."""

from prefect import task

from tasks.core.config import ExportName
from tasks.core.model.export import export as export_stage
from tasks.core.model.export.export import ingredients
from tasks.core.stage.handles import Exports, Model, RawDataset, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="export {tensors.dataset}",
    cache_policy=policies.ByIngredients(
        ingredients=ingredients, names=("model", "tensors", "formats", "raw", "any_size")
    ),
    result_serializer="json",
)
def export(
    model: Model,
    tensors: TensorCache,
    formats: tuple[ExportName, ...],
    raw: RawDataset,
    any_size: bool = False,
    refresh: bool = False,
) -> Exports:
    """Write the model in other formats and verify each file on the test images.

    Args:
        model: The trained model.
        tensors: The images; the first train images calibrate int8.
        formats: Which formats.
        raw: The source of the images, for a model that takes images of another size.
        any_size: Whether the exports shall take images of any size; the source's verify them.
        refresh: Run again even if the output is there.
    """
    with task_progress("export") as progress:
        return export_stage.export(
            model,
            tensors,
            formats,
            Workspace.active(),
            raw,
            any_size=any_size,
            refresh=refresh,
            progress=progress,
        )
