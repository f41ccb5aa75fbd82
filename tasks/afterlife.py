"""A run that was killed (kill -9, power) cannot say so itself: the next run of the dataset does."""

from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from tasks.console import log
from tasks.core.flight import Holder


def bury(killed: Holder) -> None:
    """Give a killed run and its tasks the state Crashed, unless Prefect's server knows an end already."""
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(killed.flow_run_id))
        except ObjectNotFound:  # another server's run
            return
        if run.state is None or run.state.is_final():
            return
        end: State[None] = Crashed(message="The process was killed; found by the next run of this dataset.")
        client.set_flow_run_state(run.id, end, force=True)
        _bury_tasks(client, run.id)
    log.info("the run before, %s, was killed; it is marked as crashed", killed)


def _bury_tasks(client: SyncPrefectClient, flow_run: UUID) -> None:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))
    for task_run in client.read_task_runs(flow_run_filter=of_run):
        if task_run.state is not None and not task_run.state.is_final():
            client.set_task_run_state(task_run.id, Crashed(message="The process was killed."), force=True)
