"""What a run would do, found out without doing it: each stage's digest is computed, and looked for."""

import inspect
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar, cast

from prefect import Task

from tasks.core.config import SourceSettings
from tasks.core.data.sources import acquire
from tasks.core.progress import duration
from tasks.core.runs import explain
from tasks.core.stage.handles import Handle, RawDataset
from tasks.core.stage.ingredients import Ingredients
from tasks.core.stage.stages import DOWNLOAD, PROMOTE, STAGES
from tasks.core.workspace import Workspace
from tasks.orchestration.policies import ByIngredients
from tasks.orchestration.run import Run

Output = TypeVar("Output")


class StopDryRun(Exception):  # noqa: N818 - how a dry run ends, not a fault
    """The first stage that would run; what follows from it cannot be known."""


class DryRun(Run):
    """Takes a run's place in the story of a run, and stops at the first stage that would run."""

    def __init__(self, workspace: Workspace, parameters: dict[str, Any]) -> None:
        super().__init__(workspace, parameters)
        self.rows: list[dict[str, str]] = []

    def preview(self, story: Callable[..., Any], settings: Any) -> list[dict[str, str]]:
        """Go through a run's story; gives a row a stage: what it would do, why, what it saves."""
        try:
            story(self, settings)
        except StopDryRun:
            done = {row["stage"].split()[0] for row in self.rows}
            for stage in STAGES:
                if stage.name not in done and not stage.option:
                    self._add_row(stage.name, "decides" if stage is PROMOTE else "follows")
        return self.rows

    def unchanged(self, _: RawDataset) -> None:
        """A forecast goes on: it shows every stage."""

    def execute(self, task: Task[..., Output], *arguments: Any, role: str = "", **keywords: Any) -> Output:
        stage = f"{task.name} {role}".strip()
        if task.name == DOWNLOAD.name:
            return cast(Output, self._download(task, arguments))
        if not isinstance(task.cache_policy, ByIngredients) or task.cache_policy.ingredients is None:
            raise StopDryRun
        bound = inspect.signature(task.fn).bind(*arguments, **keywords)
        bound.apply_defaults()
        names = task.cache_policy.names
        made_of = task.cache_policy.ingredients(*(bound.arguments[name] for name in names))
        if self.refreshes(task.name) or not self._output_exists(stage, made_of):
            self._would_run(stage, made_of)
        made = task.fn(*arguments, **keywords)  # its output is there, so nothing is done
        cost = cast(Handle, made).manifest["cost"]["wall_seconds"]
        self._add_row(stage, "reuse", saves=duration(cost))
        return made

    def _download(self, task: Task[..., Any], arguments: tuple[SourceSettings]) -> RawDataset:
        missing = acquire.to_download(arguments[0], self.workspace)
        if missing:
            self._add_row(task.name, "run", f"{missing / 1e6:.1f} MB to download")
            raise StopDryRun
        made = cast(RawDataset, task.fn(*arguments))
        self._last = explain.last_stages(made.dataset, self.workspace)
        self._add_row(task.name, "look", str(made))
        return made

    def _output_exists(self, stage: str, made_of: Ingredients) -> bool:
        return explain.outputs_complete(stage, made_of.digest, self.workspace)

    def _would_run(self, stage: str, made_of: Ingredients) -> NoReturn:
        before = self._last.get(stage, {}).get("digest")
        if self.refreshes(stage):
            why = ["asked for with --refresh"]
        elif not before:
            why = ["the first time"]
        elif before == made_of.digest:
            why = ["its output is missing or damaged"]
        else:
            why = explain.reasons(stage, before, made_of.record(), self.workspace)
        self._add_row(stage, "run", "; ".join(why))
        raise StopDryRun

    def _add_row(self, stage: str, would: str, why: str = "", saves: str = "") -> None:
        self.rows.append({"stage": stage, "would": would, "saves": saves, "why": why})
