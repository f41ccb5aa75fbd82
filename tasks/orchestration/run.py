"""The run of a run: calls each stage, says one line about it, remembers what it cost."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.task_engine import TaskRunTimeoutError

from tasks.core.errors import InterruptedTraining
from tasks.core.operations import provenance
from tasks.core.progress import duration
from tasks.core.runs import explain
from tasks.core.runs.unchanged import UnchangedRun, find_unchanged_run
from tasks.core.stage.handles import Handle, RawDataset
from tasks.core.stage.stages import RefreshName
from tasks.core.workspace import Workspace
from tasks.display.console import log

Output = TypeVar("Output")


@dataclass(frozen=True)
class StageRecord:
    """One stage of a run.

    Args:
        digest: Of the stage's output.
        state: "ran", "cached" (Prefect reused the result), "unchanged" (the stage looked, and found its
            output there) or "skipped" (nothing at all had changed, so it wasn't asked).
        why: What differs from the dataset's last run, for a stage that ran.
        seconds: Wall time in this run.
        cost: `wall_seconds`, `cpu_seconds`, `peak_memory_mb` when the output was made.
    """

    digest: str
    state: str
    seconds: float
    cost: Mapping[str, float | None]
    why: tuple[str, ...] = ()


class Run:
    """One run: its workspace, its parameters, and its stages in the order in which they ran.

    Args:
        parameters: The flow's parameters that were given or have a default.
    """

    def __init__(self, workspace: Workspace, parameters: Mapping[str, Any]) -> None:
        self.workspace = workspace
        self.parameters = {name: _json_value(value) for name, value in parameters.items()}
        self.sweep = ""  # id of the sweep that the run's training was chosen by
        self.started = datetime.now(UTC)
        self.run_id = f"{self.started:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
        self.records: dict[str, StageRecord] = {}
        self._refresh = set(parameters.get("refresh") or ())
        self._provenance = provenance.facts()
        self._last: dict[str, dict[str, Any]] = {}

    def facts(self) -> dict[str, Any]:
        """What manifests and the report say of the run; JSON values."""
        return {
            "run_id": self.run_id,
            "started": self.started.isoformat(timespec="seconds"),
            "parameters": self.parameters,
            "seed": self.parameters["seed"],
            "stages": self.stages(),
            **self._provenance,
        }

    def stages(self) -> dict[str, dict[str, Any]]:
        """For each stage: digest, state, seconds in this run, and what it cost when it was made."""
        return {
            name: {
                "digest": entry.digest,
                "state": entry.state,
                "seconds": entry.seconds,
                "cpu_seconds": entry.cost.get("cpu_seconds"),
                "made_in_seconds": entry.cost.get("wall_seconds"),
                "peak_memory_mb": entry.cost.get("peak_memory_mb"),
                "why": list(entry.why),
            }
            for name, entry in self.records.items()
        }

    def execute(self, task: Task[..., Output], *arguments: Any, role: str = "", **keywords: Any) -> Output:
        """Run a stage's task; see `StageRecord` for what is remembered.

        Args:
            task: Takes `refresh` besides its arguments and gives a handle.
            role: Tells two runs of a stage apart; handed on to the task.

        Raises:
            InterruptedTraining: The task's time was up.
            Whatever else the task raised.
        """
        refresh = self.refreshes(task.name)
        policed = task.with_options(result_storage=self.workspace.results)
        if refresh:
            policed = policed.with_options(refresh_cache=True)
        keywords |= {"role": role} if role else {}
        began = time.perf_counter()
        call = cast(Callable[..., State[Output]], policed)
        state = call(*arguments, refresh=refresh, return_state=True, **keywords)
        made = _result(task, state)
        seconds, cached = time.perf_counter() - began, state.name == "Cached"
        self._record(f"{task.name} {role}".strip(), made, seconds, cached=cached, again=refresh)
        return made

    def unchanged(self, raw: RawDataset) -> UnchangedRun | None:
        """The last run of this dataset, if this one could only find the same again; see `standing`."""
        return None if self._refresh else find_unchanged_run(raw, self.parameters, self.workspace)

    def copy_from(self, stages: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over the last run's stages, which needn't be asked."""
        for name, before in stages.items():
            cost = {"cpu_seconds": before["cpu_seconds"], "wall_seconds": before["made_in_seconds"]}
            self.records.setdefault(name, StageRecord(before["digest"], "skipped", 0.0, cost))

    def adopt_trial(self, parameters: Mapping[str, Any]) -> None:
        """Go on as the run of a sweep's chosen parameters, whose training is there."""
        self.sweep = self.run_id
        self._refresh = {name.value for name in RefreshName if self.refreshes(name)} - {"train", "all"}
        self.parameters |= {name: _json_value(value) for name, value in parameters.items()}

    def refreshes(self, stage: str) -> bool:
        """Whether the run was asked to run a stage again."""
        return bool({RefreshName.all.value, stage} & {str(asked) for asked in self._refresh})

    def _record(self, stage: str, made: Any, seconds: float, *, cached: bool, again: bool) -> None:
        if not isinstance(made, Handle):
            self.records[stage] = StageRecord("", "ran", seconds, {})
            log.info("%-13s %s", stage, made)
            return
        manifest = made.manifest
        fresh = again or datetime.fromisoformat(manifest["created"]) >= self.started.replace(microsecond=0)
        state = "cached" if cached else "ran" if fresh else "unchanged"
        if isinstance(made, RawDataset):
            self._last = explain.last_stages(made.dataset, self.workspace)
            self._tell_of_earlier_version()
        why = self._why(stage, made, again) if state == "ran" else ()
        self.records[stage] = StageRecord(made.digest, state, round(seconds, 3), manifest["cost"], why)
        log.info("%-13s %-66s %s", stage, made, _time_text(state, seconds, manifest["cost"]["wall_seconds"]))
        if why:
            log.info("%-13s   since %s", "", "; ".join(why))

    def _tell_of_earlier_version(self) -> None:
        """One line instead of the same reason at every stage."""
        if explain.is_of_earlier_version(self._last, self.workspace):
            self._last = {}
            log.info(
                "%-13s an earlier version of Plumbline made the stages: each runs once more, since files and"
                " code have other names now; models, aliases and tables are kept",
                "workspace",
            )

    def _why(self, stage: str, made: Handle, again: bool) -> tuple[str, ...]:
        """What differs from the dataset's last run; nothing to say on its first."""
        before = self._last.get(stage, {}).get("digest")
        if not before:
            return ()
        if again:
            return ("asked for with --refresh",)
        if before == made.digest:
            return ("its output was missing or damaged",)
        return tuple(explain.reasons(stage, before, made.manifest["ingredients"], self.workspace))


def _result(task: Task[..., Output], state: State[Output]) -> Output:
    try:
        return state.result()
    except TaskRunTimeoutError as error:
        raise InterruptedTraining(
            f"{task.name} reached its time limit",
            found="it had not ended",
            done="what it had done is kept; nothing was published",
            todo="start the same run again: it goes on from there",
        ) from error


def _json_value(value: Any) -> Any:
    if isinstance(value, list | tuple | set):
        return [_json_value(item) for item in value]
    return value if isinstance(value, bool | int | float) else str(value)


def _time_text(state: str, seconds: float, cost: float) -> str:
    return duration(seconds) if state == "ran" else f"{state} (cost {duration(cost)} when made)"
