"""What the flows tell in common: a dataset's only run, the way to the tensors, the way from a model on."""

from collections.abc import Callable
from typing import Any, TypeVar

from prefect import runtime
from prefect.client.schemas.objects import State

from tasks.audit import audit
from tasks.core.config import IfRunning, RunSettings
from tasks.core.data.sources import resolve
from tasks.core.model.devices import tf_config
from tasks.core.model.export import export as export_stage
from tasks.core.model.training import cross_predict as cross_predict_stage
from tasks.core.operations import run_lock
from tasks.core.operations.run_lock import RunOwner
from tasks.core.reports.inputs import ReportInputs
from tasks.core.stage.handles import (
    Audit,
    Decision,
    Evaluation,
    Exports,
    Profile,
    RawDataset,
    TensorCache,
    TrainedModel,
)
from tasks.cross_predict import cross_predict
from tasks.evaluate import evaluate
from tasks.export import export
from tasks.label_issues import label_issues
from tasks.normalize import normalize
from tasks.orchestration import finish
from tasks.orchestration.crashed_runs import mark_crashed, mark_never_started
from tasks.orchestration.run import Run
from tasks.profile import profile
from tasks.promote import champion_to_compare, promote
from tasks.report import report

T = TypeVar("T")
MAX_ATTEMPTS = 5  # decisions, if each time another machine is faster; then the verdict says so


def validate(settings: RunSettings) -> None:
    """Whether what was asked for can be, before anything starts."""
    tf_config.this_cluster()
    resolve.check_source(settings.source)
    export_stage.check_formats(settings.exports)
    cross_predict_stage.check_folds(settings.folds)


def exclusive_run(
    run: Run, settings: RunSettings, if_running: IfRunning, tell: Callable[[], T]
) -> T | State[None]:
    """Tell a story as the dataset's only run in this workspace; a killed run before it is marked."""
    holder = RunOwner.this(runtime.flow_run.id, runtime.flow_run.name)
    dataset = resolve.dataset_name(settings.source.dataset)
    try:
        with run_lock.exclusive_run(dataset, holder, if_running, run.workspace) as killed:
            if killed:
                mark_crashed(killed)
            mark_never_started()
            return tell()
    except run_lock.DatasetBusy as busy:
        return finish.skipped(busy)
    except KeyboardInterrupt:
        return finish.cancelled()


def prepare_data(run: Run, raw: RawDataset, settings: RunSettings) -> tuple[TensorCache, Audit]:
    """From images to looked-at tensors."""
    tensors = run.execute(normalize, raw, settings.normalize, settings.runner)
    return tensors, run.execute(audit, tensors)


def evaluate_and_promote(
    run: Run,
    settings: RunSettings,
    raw: RawDataset,
    tensors: TensorCache,
    audited: Audit,
    trained: TrainedModel,
) -> dict[str, Any]:
    """From a trained model to a decision and a report; returns the run's summary."""
    evaluation = run.execute(evaluate, trained, tensors)
    folded = run.execute(cross_predict, tensors, settings.train, settings.folds) if settings.folds else None
    suspects = run.execute(label_issues, evaluation, tensors, folded)
    profiled = run.execute(profile, trained, tensors)
    exported = run.execute(export, trained, tensors, settings.exports) if settings.exports else None
    decision = promote_against_champion(run, settings, trained, evaluation, tensors, exported, profiled)
    inputs = ReportInputs(
        raw, tensors, audited, trained, evaluation, decision, run.facts(), exported, suspects
    )
    reported = run.execute(report, inputs)
    return finish.finish(run, inputs, reported)


def promote_against_champion(
    run: Run,
    settings: RunSettings,
    trained: TrainedModel,
    evaluation: Evaluation,
    tensors: TensorCache,
    exported: Exports | None,
    profiled: Profile,
) -> Decision:
    """Publish, and decide against the champion: anew if another machine's model became it meanwhile."""
    for _ in range(MAX_ATTEMPTS):
        champion = champion_to_compare(trained, tensors)
        rescored = run.execute(evaluate, champion, tensors, role="champion") if champion else None
        policy, facts = settings.promote, run.facts()
        decision = run.execute(
            promote, trained, evaluation, rescored, tensors, policy, facts, exported, profiled
        )
        if not decision.champion_changed:
            break
    return decision
