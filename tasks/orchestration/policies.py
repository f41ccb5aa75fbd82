"""Policy that stages share: what makes a cached result valid, and which failures are tried again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext

from tasks.core.errors import NetworkError
from tasks.core.model.devices import tf_config
from tasks.core.stage.ingredients import Ingredients

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class ByIngredients(CachePolicy):
    """A task's cache key is the digest of its stage's ingredients.

    Prefect's own policies don't serve: INPUTS collides between tasks, TASK_SOURCE doesn't see called
    code, and neither sees the bytes behind a path. That the stored handle still stands for whole files is
    checked by the handle itself (`tasks.core.stage.handles`). Don't combine with `key_storage`: Prefect then
    reads only metadata, and never asks the handle.

    Args:
        ingredients: The stage's `ingredients` function.
        names: Which of the task's parameters it takes, in order.
    """

    ingredients: Callable[..., Ingredients] | None = None
    names: tuple[str, ...] = field(default=())

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        if self.ingredients is None:
            return None
        made_of = self.ingredients(*(inputs[name] for name in self.names))
        return f"{made_of.stage}-{made_of.digest}"


def is_network_error(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is worth another try: a network fault is, a wrong hash or bad usage is not."""
    return isinstance(_failure(state), NetworkError | ConnectionError | TimeoutError)


def is_system_error(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether training is worth another try: an error of the system is, one of ours will come again.

    Not in a cluster: a process can join one only once, and the others end when one fails.
    """
    failure = _failure(state)
    fault = isinstance(failure, OSError | MemoryError) and not isinstance(failure, TimeoutError)
    return fault and tf_config.this_cluster() is None


def with_time_limit(task: Task[P, R], minutes: float | None) -> Task[P, R]:
    """`task`, with a time after which Prefect interrupts it; it ends as TimedOut."""
    return task if minutes is None else task.with_options(timeout_seconds=60 * minutes)


def _failure(state: State[Any]) -> BaseException | None:
    try:
        state.result()  # type: ignore[unused-coroutine]
    except BaseException as error:
        return error
    return None
