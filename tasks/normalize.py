"""Normalize: decode, orient and resize images into the tensor cache."""

from prefect import task

from tasks import live, policy
from tasks.core.config import EngineSettings, NormalizeSettings
from tasks.core.data import tensors
from tasks.core.handles import RawDataset, TensorCache
from tasks.core.workspace import Workspace


@task(
    task_run_name="normalize {raw.dataset}",
    cache_policy=policy.ByIngredients(ingredients=tensors.ingredients, names=("raw", "settings")),
    result_serializer="json",
)
def normalize(
    raw: RawDataset,
    settings: NormalizeSettings,
    engine_settings: EngineSettings = EngineSettings(),  # noqa: B008 - frozen
    refresh: bool = False,
) -> TensorCache:
    with live.live("normalize") as progress:
        return tensors.normalize(raw, settings, Workspace.active(), refresh=refresh, progress=progress)
