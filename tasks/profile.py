"""Profile: describe the model's images, so that later batches can be compared with them."""

from prefect import task

from tasks.core.model.inference import profile as profile_stage
from tasks.core.model.inference.profile import ingredients
from tasks.core.stage.handles import Features, Model, Profile, RawDataset, TensorCache
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="profile {tensors.dataset}",
    cache_policy=policies.ByIngredients(
        ingredients=ingredients, names=("model", "tensors", "raw", "features")
    ),
    result_serializer="json",
)
def profile(
    model: Model,
    tensors: TensorCache,
    raw: RawDataset,
    features: Features | None = None,
    refresh: bool = False,
) -> Profile:
    """Describe the model's val images, so that later batches can be compared with them.

    Args:
        model: The trained model.
        tensors: The images.
        raw: Their source, for a model that takes images of another size.
        features: Features of the images, if the model is a linear classifier of them.
        refresh: Run again even if the output is there.
    """
    with task_progress("profile") as progress:
        return profile_stage.profile(
            model, tensors, Workspace.active(), raw, features, refresh=refresh, progress=progress
        )
