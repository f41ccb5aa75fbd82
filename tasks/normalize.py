"""Normalize: decode, orient and resize images into the tensor cache, here or by a cluster's workers."""

from collections.abc import Iterator, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks import engine, live, policy
from tasks.core import environment
from tasks.core.config import EngineSettings, NormalizeSettings, RunnerName
from tasks.core.data import portions, tensors
from tasks.core.data.portions import Portion
from tasks.core.handles import RawDataset, TensorCache
from tasks.core.workspace import Workspace

HERE = EngineSettings()


@task(
    task_run_name="normalize {raw.dataset}",
    cache_policy=policy.ByIngredients(ingredients=tensors.ingredients, names=("raw", "settings")),
    result_serializer="json",
)
def normalize(
    raw: RawDataset, settings: NormalizeSettings, where: EngineSettings = HERE, refresh: bool = False
) -> TensorCache:
    workspace = Workspace.active()

    def work(asked: Sequence[Portion]) -> Iterator[Portion]:
        calls = [{"portion": portion, "workspace": str(workspace.root)} for portion in asked]
        for done in engine.each(decode, calls, where):
            if done.error is not None:
                raise done.error
            yield asked[done.number]

    with live.live("normalize") as progress:
        elsewhere = None if where.runner is RunnerName.sequence else work
        return tensors.normalize(raw, settings, workspace, refresh=refresh, progress=progress, work=elsewhere)


@task(
    task_run_name="decode portion {portion.number}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=1,
    retry_condition_fn=policy.machine_fault,
)
def decode(portion: Portion, workspace: str) -> None:
    environment.prepare()
    portions.decode(portion, Workspace.open(workspace))
