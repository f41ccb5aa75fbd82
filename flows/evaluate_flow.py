"""Evaluate a published model on any labelled images. Nothing is trained, and the registry stays as it is.

python flows/evaluate_flow.py photos-of-2027 --dataset photos
"""

import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from flows.__main__ import main as plumbline

    plumbline("evaluate")
    sys.exit()

from tasks.core.operations import environment

environment.prepare()

from prefect import flow, runtime

from flows.declarations import EVALUATE
from tasks.core.config import SourceSettings
from tasks.core.data.evaluation_set.labelled import LabelledSettings
from tasks.core.data.files.class_names import any_classes
from tasks.core.data.readers import corrections_file
from tasks.core.model.devices import early_import
from tasks.core.operations import prefect_server
from tasks.core.registry import last_published
from tasks.core.storage.workspaces import open_workspace
from tasks.display import console, server_link
from tasks.download import download
from tasks.evaluate_version import (
    check_request,
    evaluation_report,
    evaluation_set,
    find_version,
    report_inputs,
    score_version,
)
from tasks.orchestration import damaged_outputs, finish_evaluation
from tasks.orchestration.run import Run
from tasks.parameters.flow_parameters import with_parameters
from tasks.parameters.model_settings import EvaluateSettings


def run_name() -> str:
    """The flow run's name in the dashboard."""
    given = runtime.flow_run.parameters
    return f"{given['dataset'] or 'the last trained'} {given['model']} on {given['data']}"


@flow(name="evaluate-model", flow_run_name=run_name)
@with_parameters(EvaluateSettings, EVALUATE.text)
def evaluate_flow(settings: EvaluateSettings) -> dict[str, Any]:
    """Run the evaluation flow; `EVALUATE` has its text."""
    asked, question = settings.version, settings.question
    source, images_asked = what_is_scored(settings)
    check_request(source, images_asked)
    workspace = open_workspace(asked.workspace)
    dataset = last_published.choose(asked.dataset, workspace)
    given = {name: value for name, value in settings.parameters().items() if value is not False}
    run = Run(workspace, given | {"dataset": dataset})
    version, point = find_version(
        dataset,
        asked.model,
        question.positive,
        question.prevalence,
        most_probable=question.no_operating_point,
    )
    console.log.info("%-13s %s %s", "model", version.dataset, version.version)

    def body() -> dict[str, Any]:
        with any_classes():
            raw = run.execute(download, source)
        images = run.execute(evaluation_set, raw, version, images_asked)
        evaluation = run.execute(score_version, version, images, point)
        inputs = report_inputs(version, images, evaluation, run.parameters)
        return finish_evaluation.finish(run, raw, inputs, run.execute(evaluation_report, inputs))

    return server_link.completed(damaged_outputs.built_again(body))


def what_is_scored(settings: EvaluateSettings) -> tuple[SourceSettings, LabelledSettings]:
    """Where the labelled images are, and which of them are scored."""
    images = settings.images
    return (
        SourceSettings(dataset=images.data, corrections=images.corrections),
        LabelledSettings(images.split or "", images.group_by, images.max_quarantine),
    )


def main(**parameters: Any) -> None:
    """Check what is asked before anything starts, then run the flow."""
    with console.command_context():
        settings = EvaluateSettings.of(parameters)
        check_request(*what_is_scored(settings))
        if settings.images.corrections:
            corrections_file.read(settings.images.corrections)
        prefect_server.wait_until_ready(early_import.import_tensorflow)
        with server_link.surviving():
            evaluate_flow(**parameters)
