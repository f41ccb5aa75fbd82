"""Runs the trials of a sweep: what an earlier run has trained is reused, and a failure stops no other."""

from collections.abc import Sequence
from typing import Any

from prefect import Task
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from tasks import console, engine, live
from tasks.console import log
from tasks.core.config import EngineSettings, RunnerName
from tasks.core.errors import PlumblineError
from tasks.core.handles import Audit, SweepReport, TensorCache
from tasks.core.model import threads, training
from tasks.core.progress import duration
from tasks.core.results import sweeping
from tasks.core.results.contest import Outcome
from tasks.core.sweep import Trial
from tasks.journal import Journal


def run(
    journal: Journal,
    trial: Task[..., Any],
    trials: Sequence[Trial],
    tensors: TensorCache,
    audited: Audit,
    settings: EngineSettings,
) -> list[Outcome]:
    """Train what isn't trained yet.

    Args:
        trial: The task that trains one.

    Returns:
        An outcome for each trial, in their order.
    """
    known = {} if journal.refreshes("train") else _known(journal, trials, tensors, audited)
    missing = [each for each in trials if each.number not in known]
    log.info("%-10s %s", "sweep", _intent(len(trials), len(known), settings))
    calls = [_call(journal, each, tensors, audited) for each in missing]
    outcomes = dict(known)
    with live.live("sweep") as progress:
        for done in engine.each(trial, calls, settings):
            each = missing[done.number]
            outcomes[each.number] = _outcome(journal, each, done, tensors, audited)
            progress(len(outcomes), len(trials), f"{len(outcomes)} of {len(trials)} trials")
            _say(outcomes[each.number], len(trials))
    return [outcomes[each.number] for each in trials]


def show(report: SweepReport) -> None:
    """The standings on the console, and with their plot in the dashboard."""
    console.table(sweeping.standings_in_words(report))
    rows: list[dict[str, Any]] = [*sweeping.trials_in_words(report)]
    create_table_artifact(rows, key="trials", description="the trials of the sweep")
    create_markdown_artifact(sweeping.summary(report), key="sweep", description="the sweep in short")


def told(report: SweepReport) -> dict[str, str]:
    """For the run's summary: where the sweep's report is."""
    words = {"sweep": str(report)}
    log.info("%-10s %s", "sweep", words["sweep"])
    return words


def _known(
    journal: Journal, trials: Sequence[Trial], tensors: TensorCache, audited: Audit
) -> dict[int, Outcome]:
    known = {}
    for each in trials:
        trained = training.finished(tensors, each.settings, journal.workspace, audited)
        if trained is not None:
            known[each.number] = Outcome(each, trained, reused=True)
    return known


def _call(journal: Journal, trial: Trial, tensors: TensorCache, audited: Audit) -> dict[str, Any]:
    return {
        "number": trial.number,
        "label": str(trial),
        "tensors": tensors,
        "settings": trial.settings,
        "audit": audited,
        "workspace": journal.workspace.address or str(journal.workspace.root),
        "cpus": threads.count(engine.cpus()),
        "refresh": journal.refreshes("train"),
    }


def _outcome(
    journal: Journal, trial: Trial, done: engine.Done, tensors: TensorCache, audited: Audit
) -> Outcome:
    """What the workspace has of a trial now: a cluster's word for it is not enough."""
    if done.error is not None:
        summary = done.error.summary if isinstance(done.error, PlumblineError) else str(done.error)
        return Outcome(trial, error=f"{type(done.error).__name__}: {summary}")
    trained = training.finished(tensors, trial.settings, journal.workspace, audited)
    if trained is None:
        made = f"training {done.made.digest} is not in {journal.workspace.training}"
        return Outcome(trial, error=f"the cluster's machines have other code or another workspace: {made}")
    return Outcome(trial, trained)


def _intent(count: int, known: int, settings: EngineSettings) -> str:
    there = f", {known} of them there already" if known else ""
    if settings.runner is RunnerName.sequence or known == count:
        return f"{count} trials{there}"
    where = settings.address or f"{engine.workers(settings)} processes"
    return f"{count} trials{there}, by {settings.runner} in {where}"


def _say(outcome: Outcome, count: int) -> None:
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
