"""Profile: what the model's images are like, so that later batches can be compared with them."""

from prefect import task

from tasks import live, policy
from tasks.core.handles import Model, Profile, TensorCache
from tasks.core.model import profile as profiles
from tasks.core.workspace import Workspace


@task(
    task_run_name="profile {tensors.dataset}",
    cache_policy=policy.ByIngredients(ingredients=profiles.ingredients, names=("model", "tensors")),
    result_serializer="json",
)
def profile(model: Model, tensors: TensorCache, refresh: bool = False) -> Profile:
    with live.live("profile") as progress:
        return profiles.profile(model, tensors, Workspace.active(), refresh=refresh, progress=progress)
