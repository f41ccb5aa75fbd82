"""Runs independent tasks in sequence, in processes, or on a Dask or Ray cluster, by Prefect's task runners.

Threads are not offered: trainings in threads of one process disturb each other, and none of them receives
SIGTERM while TensorFlow computes.
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

from tasks.core.errors import UsageError
from tasks.core.operations import environment
from tasks.parameters.runner_settings import RunnerName, RunnerSettings

STOP_TIMEOUT = 5.0  # seconds in which a stopped training can write its checkpoint
MAX_PENDING = 256  # calls that are submitted and not yet yielded; bounds the memory for their results

Runner = TaskRunner[PrefectFuture[Any]]
Call = Mapping[str, Any]


@dataclass(frozen=True)
class TaskResult:
    """The result of one call.

    Args:
        number: The index of the call, from 0.
        output: What the task returned; None if it failed.
        error: What it raised; None if it succeeded.
    """

    number: int
    output: Any = None
    error: Exception | None = None


def map_tasks(task: Task[..., Any], calls: Sequence[Call], settings: RunnerSettings) -> Iterator[TaskResult]:
    """Call a task once for each set of keyword arguments. A failed call does not stop the others.

    Args:
        task: The task. It takes its workspace as an argument, since a cluster's machines do not share the
            state of this process.
        calls: The keyword arguments of each call, small and picklable.
        settings: The runner, its address and its number of processes.

    Yields:
        The results, in the order of the calls, each as soon as it and those before it are done.

    Raises:
        UsageError: The runner is not installed, or the cluster cannot be reached.
    """
    if settings.runner is RunnerName.sequence:
        in_this_process = cast(Callable[..., State[Any]], task)
        for number, call in enumerate(calls):
            yield _result_of(number, in_this_process(**call, return_state=True).result)
        return
    with _open_runner(settings) as runner:
        pending: deque[tuple[int, PrefectFuture[Any]]] = deque()
        for number, call in enumerate(calls):
            pending.append((number, runner.submit(task, dict(call))))
            if len(pending) >= MAX_PENDING:
                first, future = pending.popleft()
                yield _result_of(first, future.result)
        while pending:
            first, future = pending.popleft()
            yield _result_of(first, future.result)


def worker_count(settings: RunnerSettings) -> int:
    """Return the number of processes that a runner starts on this machine."""
    return 1 if settings.runner is RunnerName.sequence else settings.workers or cpu_count()


def cpu_count() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _result_of(number: int, result: Callable[[], Any]) -> TaskResult:
    try:
        return TaskResult(number, output=result())
    except Exception as error:  # what the task raised, or an error because its process was lost
        return TaskResult(number, error=error)


@contextmanager
def _open_runner(settings: RunnerSettings) -> Iterator[Runner]:
    factories = {RunnerName.processes: _processes, RunnerName.dask: _dask, RunnerName.ray: _ray}
    try:
        runner_context = factories[settings.runner](settings)
        runner = runner_context.__enter__()
        if settings.runner is RunnerName.dask:
            _ = cast(Any, runner_context).client  # connects
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
        runner_context.__exit__(None, None, None)


def _processes(settings: RunnerSettings) -> Runner:
    runner = ProcessPoolTaskRunner(worker_count(settings), initializer=environment.prepare_child)
    return cast(Runner, runner)


def _dask(settings: RunnerSettings) -> Runner:
    from prefect_dask.task_runners import DaskTaskRunner

    if settings.address:
        return cast(Runner, DaskTaskRunner(address=settings.address))
    # One thread, because a training needs a process of its own. No memory limit, because Dask would kill a
    # process that exceeds its share even if the machine has enough memory for it.
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
    """End the child processes on this machine; leaving the pool would wait until they finish their tasks.

    On SIGTERM a training writes a checkpoint. Its process then waits for more work, so it is killed.
    """
    children = multiprocessing.active_children()
    for process in children:
        process.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT
    for process in children:
        process.join(max(0.0, deadline - time.monotonic()))
        process.kill()
