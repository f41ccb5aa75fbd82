"""The whole chain of stages, and what the training and sweep flows share.

`train_pipeline` is a training run: download, normalize, audit, embed, feature_audit, select, train, evaluate,
cross_predict, cross_validate, train_on_all, label_issues, profile, saliency, export, promote, report. A stage
is called by `run.execute`, which reuses its output where nothing that decides it has changed.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from prefect import runtime
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal

from tasks.audit import audit
from tasks.core import recipes
from tasks.core.config import ExportInput, RecipeName
from tasks.core.data.sources import resolve
from tasks.core.errors import InterruptedTraining
from tasks.core.evaluation import decision
from tasks.core.evaluation.decision import DecisionRequest
from tasks.core.evaluation.slices import values
from tasks.core.model.selection import candidates
from tasks.core.model.selection import cross_validate as cross_validate_stage
from tasks.core.operations import run_lock
from tasks.core.operations.run_lock import RunOwner
from tasks.core.registry.source_identity import check_source_identity
from tasks.core.reports.inputs import ReportInputs
from tasks.core.runs import unfinished
from tasks.core.stage.handles import (
    Audit,
    CrossValidation,
    Decision,
    Evaluation,
    Exports,
    FeatureAudit,
    Features,
    FinalModel,
    Profile,
    RawDataset,
    Selection,
    TensorCache,
    TrainedModel,
)
from tasks.cross_predict import cross_predict
from tasks.cross_validate import cross_validate
from tasks.display import server_link
from tasks.download import download
from tasks.embed import embed
from tasks.evaluate import evaluate
from tasks.export import export
from tasks.feature_audit import feature_audit
from tasks.label_issues import label_issues
from tasks.normalize import normalize
from tasks.orchestration import damaged_outputs, finish
from tasks.orchestration.crashed_runs import mark_earlier
from tasks.orchestration.policies import with_time_limit
from tasks.orchestration.run import Run
from tasks.orchestration.settings import RunSettings, TrainRunSettings
from tasks.overfit import overfit
from tasks.profile import profile
from tasks.promote import champion_to_compare, promote
from tasks.report import report
from tasks.saliency import saliency
from tasks.select import select
from tasks.train import train
from tasks.train_on_all import train_on_all

T = TypeVar("T")
FOLDS = 5  # of cross-validated predictions from features
MAX_ATTEMPTS = 5  # decisions while other machines keep changing the champion; then the verdict says so


def train_pipeline(run: Run, settings: TrainRunSettings) -> dict[str, Any]:
    """A training run, stage by stage.

    Returns:
        The run's summary; JSON values.
    """
    raw = run.execute(download, settings.source)
    # The parameters do not say what is in the file of costs. An MLflow server is told of every run.
    if not (settings.decision.cost_file or settings.control.mlflow) and (unchanged := run.unchanged(raw)):
        return finish.finish_unchanged(run, raw, unchanged)
    check_source_identity(raw, settings.source.name, run.workspace)
    tensors, audited = prepare_data(run, settings, raw)
    cross_validate_stage.check_images(settings.cross_validate, tensors, audited)
    settings, features, by_features, selected = choose_recipe(run, settings, raw, tensors, audited)
    training = with_time_limit(train, settings.control.time_limit)
    trained = run.execute(training, tensors, settings.train, by_features or audited, features, raw)
    return evaluate_and_promote(
        run, settings, raw, tensors, audited, trained, features, selected, by_features
    )


def prepare_data(run: Run, settings: RunSettings, raw: RawDataset) -> tuple[TensorCache, Audit]:
    """From images to audited tensors.

    Raises:
        UsageError, DataError: What is asked of the decision does not suit the classes or the columns.
    """
    tensors = run.execute(normalize, raw, settings.tensors, settings.runner)
    decision.resolve(settings.decision, tensors.classes)
    decision.check_classes("--no-loss-of", settings.publish.no_loss_of, tensors.classes)
    values.check_columns(settings.publish.no_worse_in, tensors)
    return tensors, run.execute(audit, tensors, raw)


def choose_recipe(
    run: Run, settings: TrainRunSettings, raw: RawDataset, tensors: TensorCache, audited: Audit
) -> tuple[TrainRunSettings, Features | None, FeatureAudit | None, Selection | None]:
    """Settings with a recipe, features and an audit by them if it needs them, and the comparison if any."""
    settings = settings.with_train(candidates.settled(settings.train, tensors))
    if not recipes.may_be_pretrained(settings.train.recipe):
        return settings, None, None, None
    features = run.execute(embed, raw, tensors, settings.embed, settings.runner)
    by_features = run.execute(feature_audit, tensors, audited, features)
    if settings.train.recipe is not RecipeName.auto:
        return settings, features, by_features, None
    selected = run.execute(select, tensors, settings.train, by_features, features, raw)
    chosen = replace(settings.train, recipe=RecipeName(selected.recipe))
    return settings.with_train(chosen), features, by_features, selected


def evaluate_and_promote(
    run: Run,
    settings: RunSettings,
    raw: RawDataset,
    tensors: TensorCache,
    audited: Audit,
    trained: TrainedModel,
    features: Features | None = None,
    selected: Selection | None = None,
    by_features: FeatureAudit | None = None,
) -> dict[str, Any]:
    """From a trained model to a decision and a report; returns the run's summary."""
    folds, formats = settings.folds, settings.publish.exports
    of_backbone = features if recipes.is_pretrained(settings.train.recipe) or not folds else None
    of_probe = features if settings.train.recipe is RecipeName.probe else None
    request = decision.resolve(settings.decision, tensors.classes)
    evaluation = run.execute(evaluate, trained, tensors, raw, request)
    crossed = None
    if folds or of_backbone:  # features give cross-validated predictions for nothing
        crossed = run.execute(cross_predict, tensors, settings.train, folds or FOLDS, of_backbone)
    validated, final = score_all_images(
        run, settings, raw, tensors, by_features or audited, features, selected
    )
    issues = run.execute(label_issues, evaluation, tensors, crossed)
    profiled = run.execute(profile, trained, tensors, raw, of_probe)
    maps = run.execute(saliency, trained, tensors, raw)
    any_size = settings.publish.export_input is ExportInput.any_size
    exported = run.execute(export, trained, tensors, formats, raw, any_size) if formats else None
    decided = promote_against_champion(
        *(run, settings, trained, evaluation, raw, tensors, request, exported, profiled, validated, final)
    )
    inputs = ReportInputs(
        *(raw, tensors, audited, trained, evaluation, decided, run.facts(), exported, issues),
        features=features,
        selected=selected,
        feature_audit=by_features,
        saliency=maps,
        cross_validation=validated,
        final_model=final,
    )
    return finish.finish(run, inputs, run.execute(report, inputs))


def score_all_images(
    run: Run,
    settings: RunSettings,
    raw: RawDataset,
    tensors: TensorCache,
    audited: Audit,
    features: Features | None,
    selected: Selection | None,
) -> tuple[CrossValidation | None, FinalModel | None]:
    """Cross-validated scores and a model of all images, where they are asked for or the test set is small."""
    asked, recipe = settings.cross_validate, settings.train.recipe
    folds = cross_validate_stage.folds_for(asked, recipe, tensors, audited)
    if folds is None:
        return None, None
    scored, chosen_before = cross_validate_stage.recipes_to_score(asked, recipe, selected)
    validated = run.execute(
        cross_validate, tensors, settings.train, scored, folds, audited, features, raw, chosen_before
    )
    chosen = replace(settings.train, recipe=RecipeName(validated.final_recipe))
    return validated, run.execute(train_on_all, tensors, chosen, audited, features, raw)


def promote_against_champion(
    run: Run,
    settings: RunSettings,
    trained: TrainedModel,
    evaluation: Evaluation,
    raw: RawDataset,
    tensors: TensorCache,
    request: DecisionRequest,
    exported: Exports | None,
    profiled: Profile,
    validated: CrossValidation | None = None,
    final: FinalModel | None = None,
) -> Decision:
    """Publish the model and compare it with the champion; again if another machine changed the champion."""
    policy, no_loss_of = settings.publish.promote, settings.publish.proven_classes(tensors.classes)
    facts = run.facts() | ({"cross_validated": validated.facts()} if validated else {})
    for _ in range(MAX_ATTEMPTS):
        champion = champion_to_compare(trained, tensors)
        rescored = (
            run.execute(evaluate, champion, tensors, raw, request, role="champion") if champion else None
        )
        decided = run.execute(
            *(promote, trained, evaluation, rescored, tensors, policy, facts),
            *(exported, profiled, final, no_loss_of, settings.publish.no_worse_in),
        )
        if not decided.champion_changed:
            break
    return unfinished.resumed_decision(decided, tensors.dataset, run.workspace)


def overfit_check(run: Run, settings: TrainRunSettings) -> dict[str, Any]:
    """Check, instead of a training run, that the recipe overfits one batch; returns what came of it."""
    raw = run.execute(download, settings.source)
    tensors = run.execute(normalize, raw, settings.tensors, settings.runner)
    return finish.finish_overfit_check(run.execute(overfit, tensors, settings.train))


def exclusive_run(run: Run, settings: RunSettings, body: Callable[[], T]) -> T | State[None]:
    """Run `body` while holding the dataset's run lock; mark a previous run that was killed as Crashed."""
    owner = RunOwner.this(runtime.flow_run.id, runtime.flow_run.name)
    dataset = resolve.dataset_name(settings.source)
    try:
        control, waited = settings.control, run.note_wait
        with run_lock.exclusive_run(dataset, owner, control.if_running, run.workspace, waited) as killed:
            server_link.tell(mark_earlier, killed)
            return server_link.completed(damaged_outputs.built_again(body))
    except run_lock.DatasetBusy as busy:
        return server_link.completed(finish.skipped(busy))
    except InterruptedTraining as limit:
        return server_link.completed(finish.stopped(limit))
    except KeyboardInterrupt:
        server_link.tell(finish.cancel_tasks)
        return server_link.completed(finish.cancelled("Ctrl-C"))
    except TerminationSignal:
        server_link.tell(finish.end_cancelled)
        raise
