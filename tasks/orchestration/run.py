"""A run: calls each stage, logs one line about it, and records its state and cost; see `RunRecord`."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from prefect import Task
from prefect.client.schemas.objects import State
from prefect.task_engine import TaskRunTimeoutError

from tasks.core import process_memory
from tasks.core.errors import InterruptedTraining
from tasks.core.operations import first_look, provenance
from tasks.core.registry.source_identity import ROOT
from tasks.core.runs import explain
from tasks.core.runs.run_record import RunRecord, StageRecord, json_value, time_text
from tasks.core.runs.unchanged import UnchangedRun, find_unchanged_run
from tasks.core.stage.handles import Handle, RawDataset
from tasks.core.stage.stages import RefreshName
from tasks.core.workspace import Workspace
from tasks.display.console import log
from tasks.orchestration.result_storage import HandleStorage

Output = TypeVar("Output")


class Run(RunRecord):
    """A run that calls its stages as Prefect tasks; see `RunRecord`.

    Args:
        workspace: The workspace that the stages read and write.
        parameters: The flow's parameters that were given or have a default.
    """

    def __init__(self, workspace: Workspace, parameters: Mapping[str, Any]) -> None:
        super().__init__(workspace, parameters)
        self._refresh = set(parameters.get("refresh") or ())
        self._provenance = provenance.facts()
        self._last: dict[str, dict[str, Any]] = {}
        self._since = first_look.taken(self.started)

    def note_wait(self) -> None:
        """Take what exists now for made by the run that this one has waited for."""
        self._since = datetime.now(UTC)

    def facts(self) -> dict[str, Any]:
        """Return what manifests and the report say about the run; JSON values."""
        return {
            "run_id": self.run_id,
            "started": self.started.isoformat(timespec="seconds"),
            "parameters": self.parameters,
            "seed": self.parameters["seed"],
            "stages": self.stages(),
            ROOT: self.source_root,
            **self._provenance,
        }

    def execute(self, task: Task[..., Output], *arguments: Any, role: str = "", **keywords: Any) -> Output:
        """Run a stage's task and record it; see `StageRecord`.

        Args:
            task: The task; it takes `arguments`, `keywords` and `refresh`, and returns the stage's output.
            arguments: Positional arguments of the task.
            role: Distinguishes two calls of a stage in one run; if not empty, it is passed to the task.
            keywords: Keyword arguments of the task.

        Returns:
            What the task returned.

        Raises:
            InterruptedTraining: The task reached its time limit.
            Exception: Whatever else the task raised.
        """
        refresh = self.refreshes(task.name)
        stored = task.with_options(refresh_cache=True) if refresh else task.with_options()
        # Not by `with_options`: it takes only blocks that the server knows.
        stored.result_storage = HandleStorage(basepath=str(self.workspace.results))
        keywords |= {"role": role} if role else {}
        began = time.perf_counter()
        call = cast(Callable[..., State[Output]], stored)
        state = call(*arguments, refresh=refresh, return_state=True, **keywords)
        output = _result(task, state)
        seconds, cached = time.perf_counter() - began, state.name == "Cached"
        self._record(f"{task.name} {role}".strip(), output, seconds, cached=cached, refreshed=refresh)
        if not cached:
            process_memory.give_back()
        return output

    def unchanged(self, raw: RawDataset) -> UnchangedRun | None:
        """Return the dataset's last run if nothing changed since, else None; see `find_unchanged_run`."""
        return None if self._refresh else find_unchanged_run(raw, self.parameters, self.workspace)

    def adopt_trial(self, parameters: Mapping[str, Any]) -> None:
        """Continue as the run of a sweep's best trial, whose training is finished.

        Args:
            parameters: The parameters of that trial; they replace those of the sweep.
        """
        self.sweep = self.run_id
        self._refresh = {name.value for name in RefreshName if self.refreshes(name)} - {"train", "all"}
        self.parameters |= {name: json_value(value) for name, value in parameters.items()}

    def refreshes(self, stage: str) -> bool:
        """Whether --refresh requests this stage."""
        return bool({RefreshName.all.value, stage} & {str(name) for name in self._refresh})

    def _record(self, stage: str, output: Any, seconds: float, *, cached: bool, refreshed: bool) -> None:
        if not isinstance(output, Handle):
            self.records[stage] = StageRecord("", "ran", seconds, {})
            log.info("%-13s %s", stage, output)
            return
        manifest = output.manifest
        is_new = refreshed or datetime.fromisoformat(manifest["created"]) >= self._since.replace(
            microsecond=0
        )
        state = "cached" if cached else "ran" if is_new else "unchanged"
        if isinstance(output, RawDataset):
            self.source_root = output.root
            self._last = explain.last_stages(output.dataset, self.workspace)
            self._log_earlier_version()
        why = self._why(stage, output, refreshed) if state == "ran" else ()
        self.records[stage] = StageRecord(output.digest, state, round(seconds, 3), manifest["cost"], why)
        log.info("%-13s %-66s %s", stage, output, time_text(state, seconds, manifest["cost"]["wall_seconds"]))
        if why:
            log.info("%-13s   since %s", "", "; ".join(why))

    def _log_earlier_version(self) -> None:
        """Log one line if an earlier version made the last run, instead of the same reason at every stage."""
        if explain.is_of_earlier_version(self._last, self.workspace):
            self._last = {}
            log.info(
                "%-13s an earlier version of Plumbline made the stages: each runs once more, because files"
                " and code have new names; models, aliases and tables are kept",
                "workspace",
            )

    def _why(self, stage: str, output: Handle, refreshed: bool) -> tuple[str, ...]:
        """Return what differs from the dataset's last run; empty on its first."""
        last_digest = self._last.get(stage, {}).get("digest")
        if not last_digest:
            return ()
        if refreshed:
            return ("requested with --refresh",)
        if last_digest == output.digest:
            return ("its output was missing or damaged",)
        return tuple(explain.reasons(stage, last_digest, output.manifest["ingredients"], self.workspace))


def _result(task: Task[..., Output], state: State[Output]) -> Output:
    try:
        return state.result()
    except TaskRunTimeoutError as error:
        raise InterruptedTraining(
            f"{task.name} reached its time limit",
            found="it had not finished",
            done="its progress is kept; nothing was published",
            todo="start the same run again: it resumes there",
        ) from error
