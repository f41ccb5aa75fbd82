"""Dry run: computes the digest of each stage and checks whether its output exists; runs no stage."""

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


class StopDryRun(Exception):  # noqa: N818 - ends a dry run, not an error
    """Raised at the first stage that would run: the stages after it depend on its output."""


class DryRun(Run):
    """Replaces a `Run` in a pipeline: reuses finished outputs and stops at the first stage that would run."""

    def __init__(self, workspace: Workspace, parameters: dict[str, Any]) -> None:
        super().__init__(workspace, parameters)
        self.rows: list[dict[str, str]] = []

    def preview(self, pipeline: Callable[..., Any], settings: Any) -> list[dict[str, str]]:
        """Go through a pipeline without running a stage.

        Args:
            pipeline: Is called with this object as its run, and with `settings`.
            settings: The settings of the run.

        Returns:
            One row per stage, with the columns `stage`, `would` ("look", "reuse", "run", "follows" or
            "decides"), `saves` (the time that reuse saves) and `why`.
        """
        try:
            pipeline(self, settings)
        except StopDryRun:
            shown = {row["stage"].split()[0] for row in self.rows}
            for stage in STAGES:
                if stage.name not in shown and not stage.option:
                    self._add_row(stage.name, "decides" if stage is PROMOTE else "follows")
        return self.rows

    def unchanged(self, _: RawDataset) -> None:
        """Return None, so that the dry run shows every stage."""

    def execute(self, task: Task[..., Output], *arguments: Any, role: str = "", **keywords: Any) -> Output:
        """Add the row of a stage; see `Run.execute` for the arguments.

        Raises:
            StopDryRun: The stage would run.
        """
        stage = f"{task.name} {role}".strip()
        if task.name == DOWNLOAD.name:
            return cast(Output, self._download(task, arguments))
        if not isinstance(task.cache_policy, ByIngredients) or task.cache_policy.ingredients is None:
            raise StopDryRun
        bound = inspect.signature(task.fn).bind(*arguments, **keywords)
        bound.apply_defaults()
        names = task.cache_policy.names
        ingredients = task.cache_policy.ingredients(*(bound.arguments[name] for name in names))
        if self.refreshes(task.name) or not self._output_exists(stage, ingredients):
            self._would_run(stage, ingredients)
        output = task.fn(*arguments, **keywords)  # builds nothing, since the output exists
        cost = cast(Handle, output).manifest["cost"]["wall_seconds"]
        self._add_row(stage, "reuse", saves=duration(cost))
        return output

    def _download(self, task: Task[..., Any], arguments: tuple[SourceSettings]) -> RawDataset:
        missing_bytes = acquire.to_download(arguments[0], self.workspace)
        if missing_bytes:
            self._add_row(task.name, "run", f"{missing_bytes / 1e6:.1f} MB to download")
            raise StopDryRun
        raw = cast(RawDataset, task.fn(*arguments))
        self._last = explain.last_stages(raw.dataset, self.workspace)
        self._add_row(task.name, "look", str(raw))
        return raw

    def _output_exists(self, stage: str, ingredients: Ingredients) -> bool:
        return explain.outputs_complete(stage, ingredients.digest, self.workspace)

    def _would_run(self, stage: str, ingredients: Ingredients) -> NoReturn:
        last_digest = self._last.get(stage, {}).get("digest")
        if self.refreshes(stage):
            why = ["requested with --refresh"]
        elif not last_digest:
            why = ["this is its first run"]
        elif last_digest == ingredients.digest:
            why = ["its output is missing or damaged"]
        else:
            why = explain.reasons(stage, last_digest, ingredients.record(), self.workspace)
        self._add_row(stage, "run", "; ".join(why))
        raise StopDryRun

    def _add_row(self, stage: str, would: str, why: str = "", saves: str = "") -> None:
        self.rows.append({"stage": stage, "would": would, "saves": saves, "why": why})
