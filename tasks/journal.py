"""The journal of a run: calls each stage, says one line about it, remembers what it cost."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State

from tasks.console import log
from tasks.core.config import RefreshName
from tasks.core.handles import Handle
from tasks.core.workspace import Workspace

Made = TypeVar("Made")


@dataclass(frozen=True)
class Entry:
    """One stage of a run.

    Args:
        digest: Of the stage's output.
        state: "ran", "cached" (Prefect reused the result) or "unchanged" (the stage looked, and found its
            output there).
        seconds: Wall time in this run.
        cost: `wall_seconds`, `cpu_seconds`, `peak_memory_mb` when the output was made.
    """

    digest: str
    state: str
    seconds: float
    cost: dict[str, float]


@dataclass
class Journal:
    """Stages of one run, in the order in which they ran."""

    workspace: Workspace
    started: datetime
    refresh: Collection[RefreshName] = ()
    entries: dict[str, Entry] = field(default_factory=dict)

    def run(self, task: Task[..., Made], *arguments: Any, name: str = "", **keywords: Any) -> Made:
        """Run a stage's task; see `Entry` for what is remembered.

        Args:
            task: Takes `refresh` besides its arguments and gives a handle.
            name: Under which the stage is filed; the task's own if empty.

        Raises:
            Whatever the task raised.
        """
        refresh = self._refreshed(task.name)
        policed = task.with_options(result_storage=self.workspace.results, refresh_cache=refresh or None)
        began = time.perf_counter()
        state = cast(
            State[Made],
            cast(Callable[..., Any], policed)(*arguments, refresh=refresh, return_state=True, **keywords),
        )
        made = cast(Made, state.result())
        self._note(name or task.name, made, state.name == "Cached", time.perf_counter() - began)
        return made

    def _refreshed(self, stage: str) -> bool:
        return any(asked in self.refresh for asked in (RefreshName.all, stage))

    def _note(self, stage: str, made: Any, cached: bool, seconds: float) -> None:
        if not isinstance(made, Handle):
            self.entries[stage] = Entry("", "ran", seconds, {})
            log.info("%-10s %s", stage, made)
            return
        manifest = made.manifest
        fresh = datetime.fromisoformat(manifest["created"]) >= self.started.replace(microsecond=0)
        state = "cached" if cached else "ran" if fresh else "unchanged"
        self.entries[stage] = Entry(made.digest, state, round(seconds, 3), manifest["cost"])
        log.info("%-10s %-66s %s", stage, made, _price(state, seconds, manifest["cost"]["wall_seconds"]))


def _price(state: str, seconds: float, cost: float) -> str:
    return duration(seconds) if state == "ran" else f"{state} (cost {duration(cost)} when made)"


def duration(seconds: float) -> str:
    """Seconds in the form people say.

    >>> duration(0.42), duration(42.3), duration(372), duration(7320)
    ('0.4 s', '42 s', '6 m 12 s', '2 h 02 m')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"
