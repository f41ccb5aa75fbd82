"""Download: get the images' bytes, or list the folder that has them."""

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.tasks import exponential_backoff

from tasks.core.config import SourceSettings
from tasks.core.data.sources import acquire
from tasks.core.stage.handles import RawDataset
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


@task(
    task_run_name="download {source.dataset}",
    # Never cached: this is the stage that looks at the outside world. Finding nothing new is cheap.
    cache_policy=NO_CACHE,
    persist_result=False,
    # These retries are for a network that fails for all addresses of a file. `acquire` itself resumes a lost
    # connection and moves on to the next address; see `RetryPolicy` in tasks/core/data/sources/http.py.
    retries=4,
    retry_delay_seconds=exponential_backoff(backoff_factor=2),
    retry_jitter_factor=0.3,
    retry_condition_fn=policies.is_network_error,
)
def download(source: SourceSettings, refresh: bool = False) -> RawDataset:
    """Get the images' bytes and verify them, or list the folder that has them.

    Args:
        source: Which dataset.
        refresh: Read every byte again, also of files that look unchanged.
    """
    with task_progress("download") as progress:
        return acquire.acquire(source, Workspace.active(), refresh=refresh, progress=progress)
