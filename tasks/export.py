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
        ingredients=ingredients, names=("model", "tensors", "formats", "any_size_source")
    ),
    result_serializer="json",
)
def export(
    model: Model,
    tensors: TensorCache,
    formats: tuple[ExportName, ...],
    any_size_source: RawDataset | None = None,
    refresh: bool = False,
) -> Exports:
    """Write the model in other formats and verify each file on the test images.

    Args:
        model: The trained model.
        tensors: The images; the first train images calibrate int8.
        formats: Which formats.
        any_size_source: The source, if the exports shall take images of any size; it verifies them.
        refresh: Run again even if the output is there.
    """
    with task_progress("export") as progress:
        return export_stage.export(
            model,
            tensors,
            formats,
            Workspace.active(),
            any_size_source=any_size_source,
            refresh=refresh,
            progress=progress,
        )
