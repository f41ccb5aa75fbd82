"""Select: which recipe suits the images, decided by images that the candidates have not seen."""

from prefect import task

from tasks.core.config import TrainSettings
from tasks.core.model.selection import select as select_stage
from tasks.core.model.selection.select import ingredients
from tasks.core.stage.handles import Audit, Features, RawDataset, Selection, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="select a recipe for {tensors.dataset}",
    cache_policy=policies.ByIngredients(
        ingredients=ingredients, names=("tensors", "settings", "audit", "features")
    ),
    result_serializer="json",
)
def select(
    tensors: TensorCache,
    settings: TrainSettings,
    audit: Audit,
    features: Features,
    raw: RawDataset,
    refresh: bool = False,
) -> Selection:
    """Compare recipes on images that none of them has seen, as far as the budget allows.

    Args:
        tensors: The images.
        settings: How to train; its `budget` bounds the comparison.
        audit: Which images leak, for `drop_leaks`.
        features: Features of the images.
        raw: The source of the images.
        refresh: Run again even if the output is there; finished trainings are reused.
    """
    with task_progress("select") as progress:
        return select_stage.select(
            tensors, settings, audit, features, raw, Workspace.active(), refresh=refresh, progress=progress
        )
