"""Policies of the Prefect tasks: when a cached result is valid, and which failures are retried."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext

from tasks.core.errors import NetworkError
from tasks.core.model.devices import tf_config
from tasks.core.operations import machine_errors
from tasks.core.stage.ingredients import Ingredients

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class ByIngredients(CachePolicy):
    """A cache policy whose key is the digest of the stage's ingredients.

    Prefect's own policies do not suffice: INPUTS collides between tasks, TASK_SOURCE does not see the code
    that a task calls, and neither sees the bytes behind a path. A cached handle checks its files when Prefect
    constructs it (`tasks.core.stage.handles`). Do not set `key_storage`: Prefect would then read only
    metadata and would not construct the handle.

    Args:
        ingredients: The `ingredients` function of the stage.
        names: The task's parameters that are passed to it, in this order.
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
        """Return the cache key of a call, such as "train-0123456789abcdef"; None disables caching."""
        if self.ingredients is None:
            return None
        ingredients = self.ingredients(*(inputs[name] for name in self.names))
        return f"{ingredients.stage}-{ingredients.digest}"


def is_network_error(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed task is retried: a network error is; a wrong hash or a usage error is not."""
    return isinstance(_failure(state), NetworkError | ConnectionError | TimeoutError)


def is_system_error(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    """Whether a failed training is retried: a passing system error is; others would occur again.

    TensorFlow's `ResourceExhaustedError` (no memory) is one, too. A full disk or a missing permission is not.
    In a TF_CONFIG cluster nothing is retried: a process can join only once, and the others end when one
    fails.
    """
    failure = _failure(state)
    system_error = isinstance(failure, OSError | MemoryError) and not isinstance(failure, TimeoutError)
    out_of_memory = type(failure).__name__ == "ResourceExhaustedError"  # TensorFlow is not imported for it
    passing = out_of_memory or (system_error and not machine_errors.lasts(failure))
    return passing and tf_config.this_cluster() is None


def with_time_limit(task: Task[P, R], minutes: float | None) -> Task[P, R]:
    """Return `task` with a time limit. Prefect interrupts it then, and its final state is TimedOut."""
    return task if minutes is None else task.with_options(timeout_seconds=60 * minutes)


def _failure(state: State[Any]) -> BaseException | None:
    try:
        state.result()  # type: ignore[unused-coroutine]
    except BaseException as error:
        return error
    return None
