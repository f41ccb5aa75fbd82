"""What the flows tell in common: a dataset's only run, the way to the tensors, the way from a model on."""

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import runtime
from prefect.client.schemas.objects import State

from tasks import closing
from tasks.afterlife import bury, bury_unstarted
from tasks.audit import audit
from tasks.core import cluster, flight
from tasks.core.config import IfRunning, RunSettings
from tasks.core.data import sources
from tasks.core.flight import Holder
from tasks.core.handles import (
    Audit,
    Decision,
    Evaluation,
    Exports,
    Profile,
    RawDataset,
    TensorCache,
    TrainedModel,
)
from tasks.core.model import exports as exporting
from tasks.core.model import folding
from tasks.core.results.subject import Subject
from tasks.evaluate import evaluate
from tasks.export import export
from tasks.fold import fold
from tasks.journal import Journal
from tasks.normalize import normalize
from tasks.profile import profile
from tasks.promote import promote, rival
from tasks.report import report
from tasks.suspect import suspect

Told = TypeVar("Told")
ROUNDS = 5  # decisions, if each time another machine is faster; then the verdict says so


def check(settings: RunSettings) -> None:
    """Whether what was asked for can be, before anything starts."""
    cluster.this()
    sources.check(settings.source)
    exporting.check(settings.exports)
    folding.check(settings.folds)


def alone(
    journal: Journal, settings: RunSettings, if_running: IfRunning, tell: Callable[[], Told]
) -> Told | State[None]:
    """Tell a story as the dataset's only run in this workspace; a killed run before it is marked."""
    holder = Holder.this(runtime.flow_run.id, runtime.flow_run.name)
    dataset = sources.filed_under(settings.source.dataset)
    try:
        with flight.single(dataset, holder, if_running, journal.workspace) as killed:
            if killed:
                bury(killed)
            bury_unstarted()
            return tell()
    except flight.Busy as busy:
        return closing.skip(busy)
    except KeyboardInterrupt:
        return closing.stop()


def prepare(journal: Journal, raw: RawDataset, settings: RunSettings) -> tuple[TensorCache, Audit]:
    """From images to looked-at tensors."""
    tensors = journal.run(normalize, raw, settings.normalize, settings.engine)
    return tensors, journal.run(audit, tensors)


def judge(
    journal: Journal,
    settings: RunSettings,
    raw: RawDataset,
    tensors: TensorCache,
    audited: Audit,
    trained: TrainedModel,
) -> dict[str, Any]:
    """From a trained model to a decision and a report; returns the run's summary."""
    evaluation = journal.run(evaluate, trained, tensors)
    folded = journal.run(fold, tensors, settings.train, settings.folds) if settings.folds else None
    suspects = journal.run(suspect, evaluation, tensors, folded)
    profiled = journal.run(profile, trained, tensors)
    exported = journal.run(export, trained, tensors, settings.exports) if settings.exports else None
    decision = settle(journal, settings, trained, evaluation, tensors, exported, profiled)
    subject = Subject(
        raw, tensors, audited, trained, evaluation, decision, journal.facts(), exported, suspects
    )
    reported = journal.run(report, subject)
    return closing.close(journal, subject, reported)


def settle(
    journal: Journal,
    settings: RunSettings,
    trained: TrainedModel,
    evaluation: Evaluation,
    tensors: TensorCache,
    exported: Exports | None,
    profiled: Profile,
) -> Decision:
    """Publish, and decide against the champion: anew if another machine's model became it meanwhile."""
    for _ in range(ROUNDS):
        champion = rival(trained, tensors)
        rescored = journal.run(evaluate, champion, tensors, role="champion") if champion else None
        policy, facts = settings.promote, journal.facts()
        decision = journal.run(
            promote, trained, evaluation, rescored, tensors, policy, facts, exported, profiled
        )
        if not decision.overtaken:
            break
    return decision
