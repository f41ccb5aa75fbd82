"""Runs the trials of a sweep: what an earlier run has trained is reused, and a failure stops no other."""

from collections.abc import Sequence
from typing import Any

from prefect import Task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks.core.config import RunnerName, RunnerSettings
from tasks.core.errors import PlumblineError
from tasks.core.model.devices import runtime
from tasks.core.model.training import train
from tasks.core.progress import duration
from tasks.core.stage.handles import Audit, SweepReport, TensorCache
from tasks.core.sweep import report as report_module
from tasks.core.sweep.ranking import TrialResult
from tasks.core.sweep.report import leaderboard_rows, trial_rows
from tasks.core.sweep.space import Trial
from tasks.display import console
from tasks.display.console import log
from tasks.display.progress import task_progress
from tasks.orchestration import task_runners
from tasks.orchestration.run import Run


def run_trials(
    run: Run,
    trial: Task[..., Any],
    trials: Sequence[Trial],
    tensors: TensorCache,
    audited: Audit,
    settings: RunnerSettings,
) -> list[TrialResult]:
    """Train what isn't trained yet.

    Args:
        trial: The task that trains one.

    Returns:
        An outcome for each trial, in their order.
    """
    known = {} if run.refreshes("train") else _already_trained(run, trials, tensors, audited)
    missing = [each for each in trials if each.number not in known]
    log.info("%-13s %s", "sweep", _plan_text(len(trials), len(known), settings))
    calls = [_call(run, each, tensors, audited) for each in missing]
    outcomes = dict(known)
    with task_progress("sweep") as progress:
        for done in task_runners.map_tasks(trial, calls, settings):
            each = missing[done.number]
            outcomes[each.number] = _outcome(run, each, done, tensors, audited)
            progress(len(outcomes), len(trials), f"{len(outcomes)} of {len(trials)} trials")
            _log_result(outcomes[each.number], len(trials))
    return [outcomes[each.number] for each in trials]


def show(report: SweepReport) -> None:
    """The standings on the console, and with their plot in the dashboard."""
    console.table(leaderboard_rows(report))
    rows: list[dict[str, Any]] = [*trial_rows(report)]
    create_table_artifact(rows, key="trials", description="the trials of the sweep")
    create_markdown_artifact(report_module.summary(report), key="sweep", description="the sweep in short")


def summary_entry(report: SweepReport) -> dict[str, str]:
    """For the run's summary: where the sweep's report is."""
    words = {"sweep": str(report)}
    log.info("%-13s %s", "sweep", words["sweep"])
    return words


def _already_trained(
    run: Run, trials: Sequence[Trial], tensors: TensorCache, audited: Audit
) -> dict[int, TrialResult]:
    known = {}
    for each in trials:
        trained = train.finished(tensors, each.settings, run.workspace, audited)
        if trained is not None:
            known[each.number] = TrialResult(each, trained, reused=True)
    return known


def _call(run: Run, trial: Trial, tensors: TensorCache, audited: Audit) -> dict[str, Any]:
    return {
        "number": trial.number,
        "label": str(trial),
        "tensors": tensors,
        "settings": trial.settings,
        "audit": audited,
        "workspace": run.workspace.address or str(run.workspace.root),
        "cpus": runtime.thread_count(task_runners.cpu_count()),
        "refresh": run.refreshes("train"),
    }


def _outcome(
    run: Run, trial: Trial, done: task_runners.TaskResult, tensors: TensorCache, audited: Audit
) -> TrialResult:
    """What the workspace has of a trial now: a cluster's word for it is not enough."""
    if done.error is not None:
        summary = done.error.summary if isinstance(done.error, PlumblineError) else str(done.error)
        return TrialResult(trial, error=f"{type(done.error).__name__}: {summary}")
    trained = train.finished(tensors, trial.settings, run.workspace, audited)
    if trained is None:
        made = f"training {done.made.digest} is not in {run.workspace.root}"
        return TrialResult(
            trial, error=f"the cluster's machines have other code or another workspace: {made}"
        )
    return TrialResult(trial, trained)


def _plan_text(count: int, known: int, settings: RunnerSettings) -> str:
    there = f", {known} of them there already" if known else ""
    if settings.runner is RunnerName.sequence or known == count:
        return f"{count} trials{there}"
    where = settings.address or f"{task_runners.worker_count(settings)} processes"
    return f"{count} trials{there}, by {settings.runner} in {where}"


def _log_result(outcome: TrialResult, count: int) -> None:
    name = f"{outcome.trial.number} of {count}"
    if outcome.trained is None:
        log.warning("  %-9s %s failed: %s", name, outcome.trial, outcome.error)
        return
    seconds = duration(outcome.trained.manifest["cost"]["wall_seconds"])
    log.info(
        "  %-9s %-55s val accuracy %.2f%%  %s",
        name,
        outcome.trial,
        100 * outcome.trained.val_accuracy,
        seconds,
    )
