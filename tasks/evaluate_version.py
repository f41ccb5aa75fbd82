"""Evaluate a published version on labelled images: decode them for it, predict and score them, report."""

from typing import Any

from prefect import task

from tasks.core.config import NormalizeSettings, SourceSettings
from tasks.core.data.evaluation_set import labelled
from tasks.core.data.evaluation_set.labelled import LabelledSettings
from tasks.core.data.files.class_names import any_classes
from tasks.core.data.sources import resolve
from tasks.core.evaluation.published import question as questions
from tasks.core.evaluation.published import score
from tasks.core.evaluation.published.question import Question
from tasks.core.model.inference import predict_set
from tasks.core.registry import registry
from tasks.core.reports import evaluation_report as report_stage
from tasks.core.reports.evaluation_report import EvaluationInputs
from tasks.core.stage.evaluation_set import EvaluationSet
from tasks.core.stage.handles import Evaluation, ModelVersion, RawDataset, Report
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace
from tasks.display.progress import task_progress
from tasks.orchestration import policies


def check_request(source: SourceSettings, settings: LabelledSettings) -> None:
    """Refuse what cannot be evaluated, before anything starts.

    Raises:
        UsageError: A source, groups, a split or a share that cannot be used.
    """
    with any_classes():
        resolve.check_source(source)
    resolve.check_group_by(source, settings.group_by)
    NormalizeSettings(max_quarantine=settings.max_quarantine)
    resolve.check_split(settings.split)


def find_version(
    dataset: str, model: str, positive: str | None, prevalence: float | None, *, most_probable: bool
) -> tuple[ModelVersion, Question]:
    """The version, and what is asked of it; see `question.of_version`.

    Raises:
        RegistryError: No such version, or it is damaged.
        UsageError: The version does not know the class, or a prevalence needs one.
    """
    version = registry.resolve(dataset, model, Workspace.active())
    return version, questions.of_version(version, positive, prevalence, most_probable=most_probable)


def set_ingredients(raw: RawDataset, version: ModelVersion, settings: LabelledSettings) -> Ingredients:
    """What decides the evaluation set."""
    return labelled.ingredients(raw, version, settings, Workspace.active())


@task(
    task_run_name="decode {raw.dataset} for {version.dataset} {version.version}",
    cache_policy=policies.ByIngredients(ingredients=set_ingredients, names=("raw", "version", "settings")),
    result_serializer="json",
)
def evaluation_set(
    raw: RawDataset, version: ModelVersion, settings: LabelledSettings, refresh: bool = False
) -> EvaluationSet:
    """Decode the images of known classes that the version has not seen, as it takes them.

    Args:
        raw: The listed images.
        version: The published version.
        settings: Which of the images.
        refresh: Run again even if the output is there.
    """
    with task_progress("evaluation_set") as progress:
        return labelled.labelled(
            raw, version, settings, Workspace.active(), refresh=refresh, progress=progress
        )


def score_ingredients(version: ModelVersion, images: EvaluationSet, question: Question) -> Ingredients:
    """What decides the scores, before there are predictions."""
    return score.ingredients(predict_set.ingredients(version, images).digest, images, question)


@task(
    task_run_name="score {version.dataset} {version.version}",
    cache_policy=policies.ByIngredients(
        ingredients=score_ingredients, names=("version", "images", "question")
    ),
    result_serializer="json",
)
def score_version(
    version: ModelVersion, images: EvaluationSet, question: Question, refresh: bool = False
) -> Evaluation:
    """Predict the images, then score the predictions.

    Args:
        version: The published version.
        images: Its evaluation set.
        question: What is asked of it.
        refresh: Run again even if the output is there.
    """
    workspace = Workspace.active()
    with task_progress("score_version") as progress:
        predicted = predict_set.predict_set(version, images, workspace, refresh=refresh, progress=progress)
    return score.score(predicted, images, workspace, question, refresh=refresh)


@task(
    task_run_name="report {inputs.version.dataset} {inputs.version.version}",
    cache_policy=policies.ByIngredients(ingredients=report_stage.ingredients, names=("inputs",)),
    result_serializer="json",
)
def evaluation_report(inputs: EvaluationInputs, refresh: bool = False) -> Report:
    """Write the report of the evaluation: one HTML file.

    Args:
        inputs: What it shows.
        refresh: Run again even if the output is there.
    """
    return report_stage.write_report(inputs, Workspace.active(), refresh=refresh)


def report_inputs(
    version: ModelVersion, images: EvaluationSet, evaluation: Evaluation, parameters: dict[str, Any]
) -> EvaluationInputs:
    """What the report shows; where the workspace lies is no part of it."""
    return EvaluationInputs(
        version,
        images,
        evaluation,
        {name: value for name, value in parameters.items() if name != "workspace"},
    )
