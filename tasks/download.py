"""Download: get the images' bytes, or look at the folder that has them."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks import live, policy
from tasks.core.config import SourceSettings
from tasks.core.data import raw
from tasks.core.handles import RawDataset
from tasks.core.workspace import Workspace


@task(
    task_run_name="download {source.dataset}",
    # Never cached: this is the stage that looks at the outside world. Finding nothing new is cheap.
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.3,
    retry_condition_fn=policy.network_fault,
)
def download(source: SourceSettings, refresh: bool = False) -> RawDataset:
    with live.live("download") as progress:
        return raw.acquire(source, Workspace.active(), refresh=refresh, progress=progress)
