"""Where independent work runs: here, in processes, on a Dask or Ray cluster, by Prefect's task runners.

Threads are not among them: trainings in threads of one process disturb each other, and none of them hears
SIGTERM while TensorFlow calculates.
"""

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner

from tasks.core.config import RunnerName, RunnerSettings
from tasks.core.errors import UsageError
from tasks.core.operations import environment

STOP_TIMEOUT = 5.0  # seconds for a checkpoint
MAX_PENDING = 256  # calls that are under way or done and not yet taken; bounds what lies about

Runner = TaskRunner[PrefectFuture[Any]]
Call = Mapping[str, Any]


@dataclass(frozen=True)
class TaskResult:
    """What became of a call.

    Args:
        number: Which of the calls.
        made: What the task returned; None if it failed.
        error: What it raised.
    """

    number: int
    made: Any = None
    error: Exception | None = None


def map_tasks(task: Task[..., Any], calls: Sequence[Call], settings: RunnerSettings) -> Iterator[TaskResult]:
    """Call a task with each of some keyword arguments; a failure stops none of the others.

    Args:
        task: Takes its workspace as an argument: a cluster's machines know nothing of this process.
        calls: Arguments, small and picklable.
        settings: Where.

    Yields:
        In the order of the calls, as they come.

    Raises:
        UsageError: The runner isn't installed, or the cluster cannot be reached.
    """
    if settings.runner is RunnerName.sequence:
        here = cast(Callable[..., State[Any]], task)
        for number, call in enumerate(calls):
            yield _result_of(number, here(**call, return_state=True).result)
        return
    with _open_runner(settings) as runner:
        waiting: deque[tuple[int, PrefectFuture[Any]]] = deque()
        for number, call in enumerate(calls):
            waiting.append((number, runner.submit(task, dict(call))))
            if len(waiting) >= MAX_PENDING:
                first, future = waiting.popleft()
                yield _result_of(first, future.result)
        while waiting:
            first, future = waiting.popleft()
            yield _result_of(first, future.result)


def worker_count(settings: RunnerSettings) -> int:
    """Processes of this machine that an engine uses."""
    return 1 if settings.runner is RunnerName.sequence else settings.workers or cpu_count()


def cpu_count() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _result_of(number: int, result: Callable[[], Any]) -> TaskResult:
    try:
        return TaskResult(number, made=result())
    except Exception as error:  # whatever the task raised, or the loss of its process
        return TaskResult(number, error=error)


@contextmanager
def _open_runner(settings: RunnerSettings) -> Iterator[Runner]:
    makers = {RunnerName.processes: _processes, RunnerName.dask: _dask, RunnerName.ray: _ray}
    try:
        made = makers[settings.runner](settings)
        runner = made.__enter__()
        if settings.runner is RunnerName.dask:
            _ = cast(Any, made).client  # connects
    except ImportError as error:
        raise UsageError(
            f"--runner {settings.runner} needs a package that is not installed",
            found=str(error),
            todo=f"pip install -e '.[{settings.runner}]' -c constraints.txt",
        ) from error
    except (OSError, ConnectionError, TimeoutError) as error:
        raise UsageError(
            f"no {settings.runner} cluster answers at {settings.address}",
            found=str(error) or type(error).__name__,
            done="nothing was started",
        ) from error
    try:
        yield runner
    except BaseException:
        _stop_processes()
        raise
    finally:
        made.__exit__(None, None, None)


def _processes(settings: RunnerSettings) -> Runner:
    runner = ProcessPoolTaskRunner(worker_count(settings), initializer=environment.prepare_child)
    return cast(Runner, runner)


def _dask(settings: RunnerSettings) -> Runner:
    from prefect_dask.task_runners import DaskTaskRunner

    if settings.address:
        return cast(Runner, DaskTaskRunner(address=settings.address))
    # One thread: a training wants its process for itself. No limit of memory: Dask's would kill a process
    # that takes more than its share, and the same training alone would have had room.
    local = {"n_workers": worker_count(settings), "threads_per_worker": 1, "memory_limit": 0}
    return cast(Runner, DaskTaskRunner(cluster_kwargs=local | {"dashboard_address": None}))


def _ray(settings: RunnerSettings) -> Runner:
    from prefect_ray import RayTaskRunner

    quiet = {"logging_level": "ERROR", "log_to_driver": False}
    if settings.address:
        return cast(Runner, RayTaskRunner(address=settings.address, init_kwargs=quiet))
    local = {"num_cpus": worker_count(settings), "include_dashboard": False}
    return cast(Runner, RayTaskRunner(init_kwargs=quiet | local))


def _stop_processes() -> None:
    """End the processes of this machine: leaving the pool would wait for all that they are at.

    Asked to stop, a training writes a checkpoint; then its process waits for more work, and is killed.
    """
    children = multiprocessing.active_children()
    for process in children:
        process.terminate()
    patience = time.monotonic() + STOP_TIMEOUT
    for process in children:
        process.join(max(0.0, patience - time.monotonic()))
        process.kill()
