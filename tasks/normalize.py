"""Normalize: decode, orient and resize images into the tensor cache, here or on a cluster."""

from collections.abc import Iterator, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.core.config import NormalizeSettings
from tasks.core.data.tensors import distributed_decode
from tasks.core.data.tensors import normalize as normalize_stage
from tasks.core.data.tensors.distributed_decode import Portion
from tasks.core.data.tensors.normalize import ingredients
from tasks.core.operations import environment
from tasks.core.stage.handles import RawDataset, TensorCache
from tasks.core.storage.workspaces import open_workspace
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies, task_runners
from tasks.parameters.runner_settings import RunnerName, RunnerSettings

IN_PROCESS = RunnerSettings()


@task(
    task_run_name="normalize {raw.dataset}",
    cache_policy=policies.ByIngredients(ingredients=ingredients, names=("raw", "settings")),
    result_serializer="json",
)
def normalize(
    raw: RawDataset, settings: NormalizeSettings, where: RunnerSettings = IN_PROCESS, refresh: bool = False
) -> TensorCache:
    """Decode, orient and resize the images into the tensor cache, here or on a cluster.

    Args:
        raw: The listed images.
        settings: Size of the tensors, share of val images, share of unreadable images to allow.
        where: Where the images are decoded; the tensors are byte-identical.
        refresh: Run again even if the output is there.
    """
    workspace = Workspace.active()

    def decode_elsewhere(portions: Sequence[Portion]) -> Iterator[Portion]:
        calls = [{"portion": portion, "workspace": str(workspace.root)} for portion in portions]
        for result in task_runners.map_tasks(decode_portion, calls, where):
            if result.error is not None:
                raise result.error
            yield portions[result.number]

    with task_progress("normalize") as progress:
        work = None if where.runner is RunnerName.sequence else decode_elsewhere
        return normalize_stage.normalize(
            raw, settings, workspace, refresh=refresh, progress=progress, work=work
        )


@task(
    task_run_name="decode portion {portion.number}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=1,
    retry_condition_fn=policies.is_system_error,
)
def decode_portion(portion: Portion, workspace: str) -> None:
    """Decode one portion of the images, in whatever process the task runner has put it."""
    environment.prepare()
    distributed_decode.decode(portion, open_workspace(workspace))
