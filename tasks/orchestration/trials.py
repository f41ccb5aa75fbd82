"""Runs the trials of a sweep: finished trainings are reused, and a failed trial does not stop the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prefect import Task

from tasks.core import shares
from tasks.core.errors import PlumblineError
from tasks.core.model.devices import runtime
from tasks.core.model.training import train
from tasks.core.progress import duration
from tasks.core.stage.handles import Audit, Features, RawDataset, SweepReport, TensorCache, TrainedModel
from tasks.core.sweep import report as report_module
from tasks.core.sweep.ranking import TrialResult
from tasks.core.sweep.report import leaderboard_rows, trial_rows
from tasks.core.sweep.space import Trial
from tasks.display import console, dashboard
from tasks.display.console import log
from tasks.display.progress import task_progress
from tasks.orchestration import task_runners
from tasks.orchestration.run import Run
from tasks.parameters.runner_settings import RunnerName, RunnerSettings


@dataclass(frozen=True)
class TrialInputs:
    """What every trial of a sweep reads.

    Args:
        tensors: The images.
        audit: Their audit.
        features: Their features; None if no trial starts from a backbone.
        raw: Their source.
    """

    tensors: TensorCache
    audit: Audit
    features: Features | None
    raw: RawDataset


def run_trials(
    run: Run,
    trial: Task[..., Any],
    trials: Sequence[Trial],
    inputs: TrialInputs,
    settings: RunnerSettings,
) -> list[TrialResult]:
    """Train the trials that are not trained yet.

    Args:
        run: The run of the sweep.
        trial: The task that trains one trial.
        trials: The trials.
        inputs: What they read.
        settings: The runner that runs the tasks.

    Returns:
        One result per trial, in the order of `trials`.
    """
    reused = {} if run.refreshes("train") else _already_trained(run, trials, inputs)
    missing = [candidate for candidate in trials if candidate.number not in reused]
    log.info("%-13s %s", "sweep", _plan_text(len(trials), len(reused), settings))
    calls = [_call(run, candidate, inputs) for candidate in missing]
    results = dict(reused)
    with task_progress("sweep") as progress:
        for task_result in task_runners.map_tasks(trial, calls, settings):
            finished = missing[task_result.number]
            results[finished.number] = _trial_result(run, finished, task_result, inputs)
            progress(len(results), len(trials), f"{len(results):,} of {shares.counted(len(trials), 'trial')}")
            _log_result(results[finished.number], len(trials))
    return [results[candidate.number] for candidate in trials]


def show(report: SweepReport, dataset: str) -> None:
    """Show the leaderboard on the console, and the trials with their plot in the dashboard."""
    console.table(leaderboard_rows(report))
    dashboard.publish_sweep(dataset, trial_rows(report), report_module.summary(report))


def summary_entry(report: SweepReport) -> dict[str, str]:
    """Log the path of the sweep's report, and return it as an entry of the run's summary."""
    entry = {"sweep": str(report)}
    log.info("%-13s %s", "sweep", entry["sweep"])
    return entry


def _already_trained(run: Run, trials: Sequence[Trial], inputs: TrialInputs) -> dict[int, TrialResult]:
    results = {}
    for trial in trials:
        trained = _finished(run, trial, inputs)
        if trained is not None:
            results[trial.number] = TrialResult(trial, trained, reused=True)
    return results


def _finished(run: Run, trial: Trial, inputs: TrialInputs) -> TrainedModel | None:
    return train.finished(inputs.tensors, trial.settings, run.workspace, inputs.audit, inputs.features)


def _call(run: Run, trial: Trial, inputs: TrialInputs) -> dict[str, Any]:
    return {
        "number": trial.number,
        "label": str(trial),
        "settings": trial.settings,
        **vars(inputs),
        "workspace": run.workspace.address or str(run.workspace.root),
        "cpus": runtime.thread_count(task_runners.cpu_count()),
        "refresh": run.refreshes("train"),
    }


def _trial_result(
    run: Run, trial: Trial, task_result: task_runners.TaskResult, inputs: TrialInputs
) -> TrialResult:
    """Return the trial's training as this workspace has it: a cluster may have written it elsewhere."""
    error = task_result.error
    if error is not None:
        summary = error.summary if isinstance(error, PlumblineError) else str(error)
        return TrialResult(trial, error=f"{type(error).__name__}: {summary}")
    trained = _finished(run, trial, inputs)
    if trained is None:
        missing = f"training {task_result.output.digest} is not in {run.workspace.root}"
        return TrialResult(
            trial, error=f"the cluster's machines have other code or another workspace: {missing}"
        )
    return TrialResult(trial, trained)


def _plan_text(count: int, reused: int, settings: RunnerSettings) -> str:
    reuse = f", {reused:,} of them trained already" if reused else ""
    if settings.runner is RunnerName.sequence or reused == count:
        return f"{shares.counted(count, 'trial')}{reuse}"
    workers = settings.address or f"{task_runners.worker_count(settings)} processes"
    return f"{shares.counted(count, 'trial')}{reuse}, by {settings.runner} in {workers}"


def _log_result(result: TrialResult, count: int) -> None:
    name = f"{result.trial.number:,} of {count:,}"
    if result.trained is None:
        log.warning("  %-9s %s failed: %s", name, result.trial, result.error)
        return
    seconds = duration(result.trained.manifest["cost"]["wall_seconds"])
    log.info(
        "  %-9s %-55s val accuracy %s  %s",
        name,
        result.trial,
        shares.percent(result.trained.val_accuracy),
        seconds,
    )
