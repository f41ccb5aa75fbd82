"""Embed: features of all images by a pretrained backbone, here or on a cluster."""

from collections.abc import Iterator, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.core.config import EmbedSettings
from tasks.core.model.features import embed as embed_stage
from tasks.core.model.features.embed import EmbedPortion, ingredients
from tasks.core.operations import environment
from tasks.core.stage.handles import Features, RawDataset, TensorCache
from tasks.core.storage.workspaces import open_workspace
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies, task_runners
from tasks.parameters.runner_settings import RunnerName, RunnerSettings

IN_PROCESS = RunnerSettings()


@task(
    task_run_name="embed {tensors.dataset} with {settings.backbone}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("raw", "tensors", "settings")),
    result_serializer="json",
)
def embed(
    raw: RawDataset,
    tensors: TensorCache,
    settings: EmbedSettings,
    where: RunnerSettings = IN_PROCESS,
    refresh: bool = False,
) -> Features:
    """Compute features of all images by a pretrained backbone, each image once.

    Args:
        raw: The source; the images are decoded straight into the backbone.
        tensors: Which image belongs to which row.
        settings: The backbone, the size of its images, the precision.
        where: Where the features are computed; the bytes are the same on one kind of processor.
        refresh: Run again even if the output is there; images in the store are not computed again.
    """
    workspace = Workspace.active()

    def compute_elsewhere(portions: Sequence[EmbedPortion]) -> Iterator[EmbedPortion]:
        calls = [{"portion": portion, "workspace": str(workspace.root)} for portion in portions]
        for result in task_runners.map_tasks(embed_portion, calls, where):
            if result.error is not None:
                raise result.error
            yield portions[result.number]

    with task_progress("embed") as progress:
        work = None if where.runner is RunnerName.sequence else compute_elsewhere
        return embed_stage.embed(
            raw, tensors, settings, workspace, refresh=refresh, progress=progress, work=work
        )


@task(
    task_run_name="embed portion {portion.path}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=1,
    retry_condition_fn=policies.is_system_error,
)
def embed_portion(portion: EmbedPortion, workspace: str) -> None:
    """Compute the features of one portion, in whatever process the task runner has put it."""
    environment.prepare()
    embed_stage.compute_portion(portion, open_workspace(workspace))
