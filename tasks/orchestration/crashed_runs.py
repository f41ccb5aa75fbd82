"""A run that was killed (kill -9, power) cannot say so itself: the next run does."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import filters
from prefect.client.schemas.objects import State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from tasks.core.operations.run_lock import RunOwner
from tasks.display.console import log

START_TIMEOUT = timedelta(minutes=5)  # a worker's process begins its run within a minute, on a loaded machine


def mark_crashed(killed: RunOwner) -> None:
    """Give a killed run and its tasks the state Crashed, unless Prefect's server knows an end already."""
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(killed.flow_run_id))
        except ObjectNotFound:  # another server's run
            return
        if run.state is None or run.state.is_final():
            return
        _crash(client, run.id, "The process was killed; found by the next run of this dataset.")
        _crash_tasks(client, run.id)
    log.info("the run before, %s, was killed; it is marked as crashed", killed)


def mark_never_started() -> None:
    """Mark runs of this run's deployment that a worker took and, killed itself, never began.

    They stay Pending for ever: Prefect gives a run to one worker only.
    """
    this = FlowRunContext.get()  # `prefect.runtime` would ask the server: 0.2 s
    deployment = this.flow_run.deployment_id if this and this.flow_run else None
    if deployment is None:
        return
    before = datetime.now(UTC) - START_TIMEOUT
    stuck = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment]),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.PENDING])),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=before),  # type: ignore[arg-type]
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=stuck):
            _crash(client, run.id, "Its worker died before the run began; found by a later run.")
            log.info('run "%s" never began, since its worker died; it is marked as crashed', run.name)


def _crash(client: SyncPrefectClient, flow_run: UUID, message: str) -> None:
    end: State[None] = Crashed(message=message)
    client.set_flow_run_state(flow_run, end, force=True)


def _crash_tasks(client: SyncPrefectClient, flow_run: UUID) -> None:
    of_run = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[flow_run]))
    for task_run in client.read_task_runs(flow_run_filter=of_run):
        if task_run.state is not None and not task_run.state.is_final():
            client.set_task_run_state(task_run.id, Crashed(message="The process was killed."), force=True)
