"""Marks killed runs (kill -9, power failure) as crashed: they cannot do it, so the next run does."""

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

START_TIMEOUT = timedelta(minutes=5)  # on a loaded machine, a worker's process begins its run within a minute


def mark_earlier(killed: RunOwner | None) -> None:
    """Set runs to Crashed that were killed, so that they could not say so.

    Args:
        killed: The owner of the run lock that a killed run left in the lock file, if there is one.
    """
    if killed:
        _mark_killed(killed)
    _mark_never_started()


def _mark_killed(killed: RunOwner) -> None:
    """Set a run and its unfinished tasks to Crashed, unless the server has a final state for the run."""
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(killed.flow_run_id))
        except ObjectNotFound:  # the run belongs to another server
            return
        if run.state is None or run.state.is_final():
            return
        _crash(client, run.id, "The process was killed; found by a later run.")
        _crash_tasks(client, run.id)
    log.info("previous run %s was killed; it is marked as crashed", killed)


def _mark_never_started() -> None:
    """Set runs of this run's deployment to Crashed if their worker was killed before they began.

    Otherwise they stay Pending forever: Prefect gives a run to one worker only.
    """
    context = FlowRunContext.get()  # `prefect.runtime` would ask the server: 0.2 s
    deployment = context.flow_run.deployment_id if context and context.flow_run else None
    if deployment is None:
        return
    latest_start = datetime.now(UTC) - START_TIMEOUT
    never_started = filters.FlowRunFilter(
        deployment_id=filters.FlowRunFilterDeploymentId(any_=[deployment]),
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.PENDING])),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=latest_start),  # type: ignore[arg-type]
    )
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs(flow_run_filter=never_started):
            _crash(client, run.id, "Its worker died before the run began; found by a later run.")
            log.info('run "%s" never began because its worker died; it is marked as crashed', run.name)


def _crash(client: SyncPrefectClient, flow_run: UUID, message: str) -> None:
    crashed: State[None] = Crashed(message=message)
    client.set_flow_run_state(flow_run, crashed, force=True)


def _crash_tasks(client: SyncPrefectClient, flow_run: UUID) -> None:
    this_run = filters.FlowRunFilter(id=filters.FlowRunFilterId(any_=[flow_run]))
    for task_run in client.read_task_runs(flow_run_filter=this_run):
        if task_run.state is not None and not task_run.state.is_final():
            client.set_task_run_state(task_run.id, Crashed(message="The process was killed."), force=True)
